/**
 * Latents as logs name them: `[3, [48, 63]]` is 3 and all of 48 … 63. Short where neighbours died together, and never longer
 * than their list.
 */
export type LatentRanges = readonly (number | readonly [first: number, last: number])[];

/** Of latents in ascending order. */
export function rangesOf(latents: readonly number[]): LatentRanges {
  const ranges: (number | [number, number])[] = [];
  for (let from = 0, to = 1; from < latents.length; from = to, to = from + 1) {
    while (to < latents.length && latents[to] === latents[to - 1] + 1) to++;
    const [first, last] = [latents[from], latents[to - 1]];
    if (last - first < 2) ranges.push(...latents.slice(from, to));
    else ranges.push([first, last]);
  }
  return ranges;
}

/** The latents that a log names, as far as it is well formed; null: it is not, or names one that is not below `dSae`. */
export function latentsIn(ranges: unknown, dSae: number): number[] | null {
  if (!Array.isArray(ranges)) return null;
  const latents: number[] = [];
  for (const range of ranges as unknown[]) {
    const [first, last] = Array.isArray(range) && range.length === 2 ? range : [range, range];
    const next = latents.length === 0 ? 0 : latents[latents.length - 1] + 1;
    if (!Number.isInteger(first) || !Number.isInteger(last)) return null;
    if (first < next || last < first || last >= dSae) return null;
    for (let latent = first; latent <= last; latent++) latents.push(latent);
  }
  return latents;
}
