/** Numbers as people read them. */

/** Three figures, or a whole number in groups: 0.813, 43.6, 64, 1 330. */
export function sayNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value))
    return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
  return value.toPrecision(3);
}

/** 3.1 s, 16.4 ms */
export function sayTime(seconds: number): string {
  return seconds >= 1 ? `${sayNumber(seconds)} s` : `${sayNumber(seconds * 1e3)} ms`;
}

/** 88 % */
export function sayShare(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** 4.72 GB, 310 MB */
export function sayBytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${Math.round(bytes / 1e6)} MB`;
}

/** "768 → 16 384, k 64" */
export function saySize({ dIn, dSae, k }: { dIn: number; dSae: number; k: number }): string {
  return `${sayNumber(dIn)} → ${sayNumber(dSae)}, k ${k}`;
}
