/** Exact statistics of one latent from all its activations. Sums are taken in f64, tokens ascending. */
import type { LatentActs } from "../entries/sorted-block.ts";
import { HISTOGRAM_BINS, INTERVALS } from "../tables.ts";
import type { TokenTable } from "../tokens/token-table.ts";

export interface LatentStatistics {
  readonly nActive: number;
  readonly nDocuments: number;
  readonly density: number;
  /** null: it never fires */
  readonly minAct: number | null;
  readonly maxAct: number | null;
  readonly meanAct: number | null;
  /** [HISTOGRAM_BINS], or empty if it never fires */
  readonly histogram: Uint32Array;
  /** [INTERVALS] */
  readonly intervals: Uint32Array;
  readonly splits: readonly LatentSplit[];
}

/** How it fires on a class of tokens; only those on which it does. */
export interface LatentSplit {
  readonly kind: "role" | "source" | "position";
  readonly class: number;
  readonly nActive: number;
  readonly meanAct: number;
}

/** Counts documents by marking them: one array for all latents. */
export class StatisticsReader {
  readonly #table: TokenTable;
  /** [nDocuments] the latent that marked it last, plus 1 */
  readonly #marks: Uint32Array;

  constructor(table: TokenTable) {
    this.#table = table;
    this.#marks = new Uint32Array(table.nDocuments);
  }

  of({ latent, tokens, values }: LatentActs): LatentStatistics {
    const { document, nTokens } = this.#table;
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    let sum = 0;
    let nDocuments = 0;
    for (let e = 0; e < tokens.length; e++) {
      const value = values[e];
      if (value < min) min = value;
      if (value > max) max = value;
      sum += value;
      const of = document[tokens[e]];
      if (this.#marks[of] !== latent + 1) {
        this.#marks[of] = latent + 1;
        nDocuments += 1;
      }
    }
    const n = tokens.length;
    return {
      nActive: n,
      nDocuments,
      density: n / nTokens,
      minAct: n > 0 ? min : null,
      maxAct: n > 0 ? max : null,
      meanAct: n > 0 ? sum / n : null,
      histogram: n > 0 ? histogramOf(values, min, max) : new Uint32Array(0),
      intervals: countIntervals(values, max),
      splits: [
        ...this.#split("role", this.#table.role, tokens, values),
        ...this.#split("source", this.#table.source, tokens, values),
        ...this.#split("position", this.#table.bucket, tokens, values),
      ],
    };
  }

  #split(
    kind: LatentSplit["kind"],
    labels: Uint8Array,
    tokens: Uint32Array,
    values: Float32Array,
  ): LatentSplit[] {
    const n = this.#table.splits[kind].length;
    const counts = new Uint32Array(n);
    const sums = new Float64Array(n);
    for (let e = 0; e < tokens.length; e++) {
      const label = labels[tokens[e]];
      counts[label] += 1;
      sums[label] += values[e];
    }
    return [...counts.keys()]
      .filter((i) => counts[i] > 0)
      .map((i) => ({ kind, class: i, nActive: counts[i], meanAct: sums[i] / counts[i] }));
  }
}

/** Equal bins of [min, max]; the last holds max, so all values where they are one. */
function histogramOf(values: Float32Array, min: number, max: number): Uint32Array {
  const bins = new Uint32Array(HISTOGRAM_BINS);
  const last = HISTOGRAM_BINS - 1;
  for (const value of values) {
    const bin =
      value === max ? last : Math.min(last, Math.floor(((value - min) * HISTOGRAM_BINS) / (max - min)));
    bins[bin] += 1;
  }
  return bins;
}

function countIntervals(values: Float32Array, max: number): Uint32Array {
  const counts = new Uint32Array(INTERVALS);
  for (const value of values) counts[intervalOf(value, max)] += 1;
  return counts;
}

/** Which of INTERVALS equal intervals of (0, max], closed above, holds an activation. */
export function intervalOf(value: number, max: number): number {
  return Math.max(0, Math.min(INTERVALS, Math.ceil((value * INTERVALS) / max)) - 1);
}
