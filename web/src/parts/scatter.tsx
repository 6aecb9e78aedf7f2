/**
 * Many points, darker where more lie: a canvas between axes. Drag to choose a range of both, click to open the nearest
 * point. Nothing is sampled; points that have no place on an axis (NaN) are left out.
 */
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Scale } from "../../../src/report/charts/scale.ts";
import { type Area, CHART_WIDTH, place, XAxis, YAxis } from "./axes.tsx";
import { type Box, Brush } from "./brush.tsx";
import { showTipAt } from "./tip.tsx";
import { useColours } from "./use-colours.ts";

export interface ScatterProps {
  readonly title: string;
  readonly description: string;
  readonly xs: Float64Array;
  readonly ys: Float64Array;
  /** these are drawn strong, the others faint; null: all strong */
  readonly among: Uint32Array | null;
  readonly x: (range: { from: number; to: number }) => Scale;
  readonly y: (range: { from: number; to: number }) => Scale;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly tip: (point: number) => string;
  readonly chosen: Box | null;
  /** a box in chart units, with the scales to turn it into values; null: nothing is chosen */
  readonly onChoose: (box: Box | null) => void;
  readonly onPick: (point: number) => void;
}

const HEIGHT = 250;
export const SCATTER_AREA: Area = { left: 40, right: CHART_WIDTH - 8, top: 20, bottom: HEIGHT - 34 };
/** Milliseconds that painting waits, so that fast typing paints once. */
const PATIENCE = 40;
/** Fewer points than this are drawn larger. */
const FEW = 5000;
/** How far from a point one may click, chart units. */
const NEAR = 8;

export function Scatter(props: ScatterProps) {
  const { xs, ys, among, x, y } = props;
  const area = SCATTER_AREA;
  const canvas = useRef<HTMLCanvasElement>(null);
  const colours = useColours();
  const points = useMemo(() => placesOf(xs, ys, x, y, area), [xs, ys, x, y, area]);

  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const paint = () => draw(element, points, among, area);
    const watch = new ResizeObserver(paint);
    watch.observe(element);
    // after what is beside it, which may be a list that is being searched
    const timer = setTimeout(paint, PATIENCE);
    return () => {
      clearTimeout(timer);
      watch.disconnect();
    };
  }, [points, among, area, colours]);

  const hover = (atX: number, atY: number, at: { clientX: number; clientY: number }) => {
    const point = nearest(points, atX, atY);
    showTipAt(point < 0 ? null : props.tip(point), at);
  };
  return (
    <div class="scatter">
      <canvas ref={canvas} aria-hidden="true" />
      <svg
        class="chart"
        viewBox={`0 0 ${CHART_WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`${props.title}. ${props.description}`}
      >
        <YAxis scale={y({ from: area.bottom, to: area.top })} area={area} label={props.yLabel} />
        <XAxis scale={x({ from: area.left, to: area.right })} area={area} label={props.xLabel} />
        <Brush
          area={area}
          axes="both"
          chosen={props.chosen}
          onChoose={props.onChoose}
          onClick={(atX, atY) => {
            const point = nearest(points, atX, atY);
            if (point >= 0) props.onPick(point);
            else props.onChoose(null);
          }}
          onHover={hover}
          onLeave={() => showTipAt(null, { clientX: 0, clientY: 0 })}
        />
      </svg>
    </div>
  );
}

interface Places {
  /** chart units; NaN: has none */
  readonly x: Float32Array;
  readonly y: Float32Array;
}

function placesOf(
  xs: Float64Array,
  ys: Float64Array,
  x: ScatterProps["x"],
  y: ScatterProps["y"],
  area: Area,
): Places {
  const [scaleX, scaleY] = [x({ from: area.left, to: area.right }), y({ from: area.bottom, to: area.top })];
  const places = { x: new Float32Array(xs.length), y: new Float32Array(xs.length) };
  for (let i = 0; i < xs.length; i++) {
    const has = !Number.isNaN(xs[i]) && !Number.isNaN(ys[i]);
    places.x[i] = has ? scaleX.at(xs[i]) : Number.NaN;
    places.y[i] = has ? scaleY.at(ys[i]) : Number.NaN;
  }
  return places;
}

function nearest({ x, y }: Places, atX: number, atY: number): number {
  let [best, least] = [-1, NEAR * NEAR];
  for (let i = 0; i < x.length; i++) {
    const distance = (x[i] - atX) ** 2 + (y[i] - atY) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/** Counts points by pixel, then shades: one pass over the points and one over the pixels. */
function draw(canvas: HTMLCanvasElement, points: Places, among: Uint32Array | null, area: Area): void {
  const box = canvas.getBoundingClientRect();
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  const context = canvas.getContext("2d");
  if (context === null || width === 0 || height === 0) return;
  canvas.width = width;
  canvas.height = height;
  const size = Math.max(2, Math.round((points.x.length < FEW ? 3 : 1.6) * ratio));
  const unit = width / (area.right - area.left);
  const style = getComputedStyle(canvas);
  const image = context.createImageData(width, height);
  const grid = { area, unit, size, width, height };
  if (among !== null) shade(image, countPixels(points, null, grid), style.borderTopColor, 0.25);
  shade(image, countPixels(points, among, grid), style.color, 0.4);
  context.putImageData(image, 0, 0);
}

interface PixelGrid {
  readonly area: Area;
  /** pixels of a chart unit, and of a point's side */
  readonly unit: number;
  readonly size: number;
  readonly width: number;
  readonly height: number;
}

/** Points that cover each pixel, of all points or of `among`. */
function countPixels({ x, y }: Places, among: Uint32Array | null, grid: PixelGrid): Uint16Array {
  const { area, unit, size, width, height } = grid;
  const counts = new Uint16Array(width * height);
  const n = among?.length ?? x.length;
  for (let k = 0; k < n; k++) {
    const i = among === null ? k : among[k];
    if (Number.isNaN(x[i])) continue;
    const left = Math.min(width - size, Math.max(0, Math.round((x[i] - area.left) * unit - size / 2)));
    const top = Math.min(height - size, Math.max(0, Math.round((y[i] - area.top) * unit - size / 2)));
    for (let row = top; row < top + size; row++)
      for (let column = left; column < left + size; column++) counts[row * width + column]++;
  }
  return counts;
}

/** Lays a colour over the image: fainter for one point, full from 32 on. */
function shade({ data }: ImageData, counts: Uint16Array, colour: string, faintest: number): void {
  const [red, green, blue] = (colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    const alpha = faintest + (1 - faintest) * Math.min(1, Math.log2(counts[i]) / 5);
    data[4 * i] = red;
    data[4 * i + 1] = green;
    data[4 * i + 2] = blue;
    data[4 * i + 3] = Math.max(data[4 * i + 3], Math.round(255 * alpha));
  }
}

/** The box of a chosen range of values, open ends at the edges. */
export function boxOf(
  { low: left, high: right }: { low: number | null; high: number | null },
  { low: bottom, high: top }: { low: number | null; high: number | null },
  x: Scale,
  y: Scale,
): Box | null {
  if (left === null && right === null && top === null && bottom === null) return null;
  return {
    left: place(left === null ? SCATTER_AREA.left : x.at(left)),
    right: place(right === null ? SCATTER_AREA.right : x.at(right)),
    top: place(top === null ? SCATTER_AREA.top : y.at(top)),
    bottom: place(bottom === null ? SCATTER_AREA.bottom : y.at(bottom)),
  };
}
