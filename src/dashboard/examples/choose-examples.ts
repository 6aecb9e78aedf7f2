/**
 * Which of a latent's activations are shown: its largest, one a document, then some of each interval of (0, max], the
 * highest interval first, drawn without replacement, one a document and interval, none that is shown already. The draw is a function of
 * (seed, latent, interval) and the latent's activations, in token order.
 */
import { Philox } from "../../random/philox.ts";
import type { LatentActs } from "../entries/sorted-block.ts";
import { intervalOf } from "../statistics/latent-statistics.ts";
import { INTERVALS } from "../tables.ts";

/** How many are shown, at most. */
export interface ExampleOptions {
  readonly topExamples: number;
  readonly examplesPerInterval: number;
  readonly seed: number;
}

/** An activation that is shown: which of the latent's, and why. */
export interface Example {
  /** place among the latent's activations */
  readonly entry: number;
  /** −1: among the largest; else the interval it was drawn from */
  readonly interval: number;
}

/** `document` [nTokens]: each token's document. */
export function chooseExamples(
  acts: LatentActs,
  document: Uint32Array,
  { topExamples, examplesPerInterval, seed }: ExampleOptions,
): Example[] {
  const { latent, tokens, values } = acts;
  const top = largest(acts, document, topExamples);
  const shown = new Set(top);
  const examples: Example[] = top.map((entry) => ({ entry, interval: -1 }));
  if (examplesPerInterval === 0 || tokens.length === 0) return examples;
  const members = byInterval(values);
  for (let interval = INTERVALS - 1; interval >= 0; interval--) {
    const entries = members[interval];
    const random = new Philox(seed, `index/examples/${latent}/${interval}`);
    const documents = new Set<number>();
    for (let i = 0; i < entries.length && documents.size < examplesPerInterval; i++) {
      const other = i + Math.floor(random.uniform(i) * (entries.length - i));
      const entry = entries[other];
      entries[other] = entries[i];
      const of = document[tokens[entry]];
      if (shown.has(entry) || documents.has(of)) continue;
      documents.add(of);
      examples.push({ entry, interval });
    }
  }
  return examples;
}

/** The largest activations of different documents: each document's largest, first come first; ties: the lowest token. */
function largest({ tokens, values }: LatentActs, document: Uint32Array, n: number): number[] {
  if (n === 0) return [];
  // ascending: the least of those kept comes first
  const kept: { entry: number; of: number }[] = [];
  for (let entry = 0; entry < tokens.length; entry++) {
    const value = values[entry];
    if (kept.length === n && value <= values[kept[0].entry]) continue;
    const of = document[tokens[entry]];
    const same = kept.findIndex((other) => other.of === of);
    if (same >= 0 && values[kept[same].entry] >= value) continue;
    if (same >= 0) kept.splice(same, 1);
    else if (kept.length === n) kept.shift();
    let at = 0;
    while (at < kept.length && values[kept[at].entry] < value) at++;
    kept.splice(at, 0, { entry, of });
  }
  return kept.map(({ entry }) => entry).reverse();
}

/** Entries of each interval, ascending. */
function byInterval(values: Float32Array): Uint32Array[] {
  const max = values.reduce((a, b) => Math.max(a, b));
  const counts = new Uint32Array(INTERVALS);
  for (const value of values) counts[intervalOf(value, max)] += 1;
  const members = Array.from(counts, (n) => new Uint32Array(n));
  counts.fill(0);
  for (let entry = 0; entry < values.length; entry++) {
    const interval = intervalOf(values[entry], max);
    members[interval][counts[interval]++] = entry;
  }
  return members;
}
