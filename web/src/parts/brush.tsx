/**
 * Dragging over a chart to choose a range, and clicking it. Only for pointers: whoever uses this offers the same by fields
 * (`bounds-fields.tsx`).
 */
import { useRef, useState } from "preact/hooks";
import { type Area, CHART_WIDTH, place } from "./axes.tsx";

export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface BrushProps {
  readonly area: Area;
  /** x: whole columns; both: a rectangle */
  readonly axes: "x" | "both";
  /** what is chosen, in chart units; null: nothing */
  readonly chosen: Box | null;
  readonly onChoose: (box: Box | null) => void;
  readonly onClick?: (x: number, y: number) => void;
  readonly onHover?: (x: number, y: number, at: { clientX: number; clientY: number }) => void;
  readonly onLeave?: () => void;
}

/** Units of the chart that a pointer moves before it is a drag. */
const DRAG = 4;

export function Brush({ area, axes, chosen, onChoose, onClick, onHover, onLeave }: BrushProps) {
  const start = useRef<{ x: number; y: number } | null>(null);
  const [dragged, setDragged] = useState<Box | null>(null);

  const at = (event: PointerEvent) => {
    const svg = (event.currentTarget as SVGElement).ownerSVGElement as SVGSVGElement;
    const box = svg.getBoundingClientRect();
    const unit = CHART_WIDTH / box.width;
    const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
    return {
      x: clamp((event.clientX - box.left) * unit, area.left, area.right),
      y: clamp((event.clientY - box.top) * unit, area.top, area.bottom),
    };
  };
  const boxTo = (x: number, y: number): Box | null => {
    const from = start.current;
    if (from === null || Math.max(Math.abs(x - from.x), axes === "both" ? Math.abs(y - from.y) : 0) < DRAG)
      return null;
    return {
      left: Math.min(from.x, x),
      right: Math.max(from.x, x),
      top: axes === "x" ? area.top : Math.min(from.y, y),
      bottom: axes === "x" ? area.bottom : Math.max(from.y, y),
    };
  };
  const shown = dragged ?? chosen;
  return (
    <g class="brush">
      {shown !== null && (
        <rect
          class="chosen"
          x={place(shown.left)}
          y={place(shown.top)}
          width={place(shown.right - shown.left)}
          height={place(shown.bottom - shown.top)}
        />
      )}
      <rect
        class="over"
        x={area.left}
        y={area.top}
        width={area.right - area.left}
        height={area.bottom - area.top}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          start.current = at(event);
          (event.currentTarget as Element).setPointerCapture(event.pointerId);
        }}
        onPointerMove={(event) => {
          const { x, y } = at(event);
          if (start.current !== null) setDragged(boxTo(x, y));
          else onHover?.(x, y, event);
        }}
        onPointerUp={(event) => {
          if (start.current === null) return;
          const { x, y } = at(event);
          const box = boxTo(x, y);
          start.current = null;
          setDragged(null);
          if (box !== null) onChoose(box);
          else if (onClick !== undefined) onClick(x, y);
          else onChoose(null);
        }}
        onPointerCancel={() => {
          start.current = null;
          setDragged(null);
        }}
        onPointerLeave={onLeave}
      />
    </g>
  );
}
