/** Numbers and texts as Neuronpedia's formats want them. */

/** To 5 decimals, halves to even, as numpy rounds: the precision of SAEDashboard's files. */
export function round5(value: number): number {
  const scaled = value * 1e5;
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const isUp = rest > 0.5 || (rest === 0.5 && down % 2 !== 0);
  return (isUp ? down + 1 : down) / 1e5 + 0; // + 0: no negative zero
}

/** Centres of equal bins of [min, max]. */
export function binCentres(min: number, max: number, bins: number): number[] {
  return Array.from({ length: bins }, (_, i) => round5(min + ((i + 0.5) * (max - min)) / bins));
}

const NOTHING = "∅";

/**
 * A token's text that every step of an import survives. Postgres takes neither U+0000 nor halves of surrogate pairs; the
 * importer replaces `\u0000` in the JSON's text, and would break a string in which these six characters stand; an upload's
 * tokens must not be empty.
 */
export function safeText(text: string): string {
  if (text === "") return NOTHING;
  return text
    .replaceAll("\u0000", "\\u{0}")
    .replaceAll("\\u0000", "\\u{0000}")
    .replaceAll(/\p{Surrogate}/gu, "\ufffd");
}
