/** Two number fields for a range: what the brush does, by keyboard. An empty field is an open end. */
import type { Bounds } from "../data/search.ts";

export interface BoundsFieldsProps {
  readonly legend: string;
  readonly bounds: Bounds;
  readonly step?: string;
  readonly onChange: (bounds: Bounds) => void;
}

export function BoundsFields({ legend, bounds, step = "any", onChange }: BoundsFieldsProps) {
  const field = (side: "low" | "high") => (
    <input
      type="number"
      step={step}
      aria-label={`${legend}, ${side === "low" ? "least" : "greatest"}`}
      placeholder={side === "low" ? "from" : "to"}
      value={bounds[side] ?? ""}
      onChange={(event) => {
        const value = event.currentTarget.valueAsNumber;
        onChange({ ...bounds, [side]: Number.isNaN(value) ? null : value });
      }}
    />
  );
  return (
    <fieldset class="bounds">
      <legend>{legend}</legend>
      {field("low")}
      <span aria-hidden="true">…</span>
      {field("high")}
    </fieldset>
  );
}

/** A range as it stands in an address: "low..high", either side empty. */
export function writeBounds({ low, high }: Bounds): string {
  const number = (value: number | null) => (value === null ? "" : String(Number(value.toPrecision(6))));
  return low === null && high === null ? "" : `${number(low)}..${number(high)}`;
}

export function readBounds(text: string | null): Bounds {
  const number = (part: string | undefined) =>
    part === undefined || part === "" || Number.isNaN(Number(part)) ? null : Number(part);
  const [low, high] = (text ?? "").split("..");
  return { low: number(low), high: number(high) };
}
