/** Finds what a latent fires on: the token or the few tokens in a row that its activations coincide with best. */
import { ShapeError } from "../../errors.ts";
import type { RankedTokens } from "../logits/logits.ts";
import { numberGrams } from "./grams.ts";
import type { IndexedTokens, Label } from "./labels.ts";
import { afterText, outputText, runText } from "./trigger.ts";

export interface TriggerLimits {
  /** a trigger counts only if the latent fires on it at least so often */
  readonly leastHits: number;
  /** and if its F1 is at least this */
  readonly leastF1: number;
}

export const TRIGGER_LIMITS: TriggerLimits = { leastHits: 3, leastF1: 0.5 };

/** Of the top logits, so many are named. */
const NAMED_LOGITS = 3;

/** Kinds of triggers, simplest first: how many tokens ending at the one it fires on; 0: the one before it, alone. */
const LENGTHS = [1, 2, 0, 3] as const;
const N_KINDS = LENGTHS.length;

interface Kind {
  readonly length: (typeof LENGTHS)[number];
  /** [grams], descending */
  readonly counts: Uint32Array;
  readonly first: Uint32Array;
  /** [grams] scratch: hits of the latent at hand; 0 between calls */
  readonly hits: Uint32Array;
}

interface Best {
  kind: number;
  hits: number;
  count: number;
  /** equals in this kind */
  grams: number[];
}

const NONE: Label = { text: "", kind: "none", precision: null, recall: null };

/**
 * Labels latents by their best trigger over all indexed tokens. Candidates are the token itself, the two tokens that
 * end at it, the token before it alone, and the three that end at it, within a window.
 *
 * ```
 * hits      tokens with the trigger on which the latent fires
 * precision hits / tokens with the trigger
 * recall    hits / tokens on which it fires
 * F1        2 · hits / (tokens with the trigger + tokens on which it fires)
 * ```
 *
 * The trigger of the largest F1 is taken, compared exactly as whole numbers. Ties: the simpler one, in the order above; then
 * the one with the larger sum of activations; then the one that occurs first. Below the limits the largest logits are named.
 *
 * Memory   `TriggerFinder.bytes`, while it is built; then up to 64 bytes a token
 * @throws {ShapeError} columns of different lengths; rows that are not ascending tokens of the index
 */
export class TriggerFinder {
  readonly #tokens: IndexedTokens;
  readonly #textOf: (ids: readonly number[]) => string;
  readonly #limits: TriggerLimits;
  readonly #kinds: readonly Kind[];
  /** [nTokens, kinds] which gram of each kind stands at a token */
  readonly #grams: Uint32Array;
  /** scratch: grams of one kind that were hit */
  #touched = new Uint32Array(1024);

  /** `textOf` gives the text of one token. */
  constructor(
    tokens: IndexedTokens,
    textOf: (ids: readonly number[]) => string,
    limits: TriggerLimits = TRIGGER_LIMITS,
  ) {
    const { nTokens, tokenIds, previous, previous2 } = tokens;
    for (const column of [tokenIds, previous, previous2])
      if (column.length !== nTokens) throw new ShapeError("column of indexed tokens", column.length, nTokens);
    this.#tokens = tokens;
    this.#textOf = textOf;
    this.#limits = limits;
    const one = numberGrams(tokenIds, null);
    const two = numberGrams(one.at, previous);
    const kinds = [one, two, numberGrams(previous, null), numberGrams(two.at, previous2)];
    this.#grams = new Uint32Array(nTokens * N_KINDS);
    kinds.forEach(({ at }, kind) => {
      for (let row = 0; row < nTokens; row++) this.#grams[row * N_KINDS + kind] = at[row];
    });
    this.#kinds = kinds.map(({ counts, first }, kind) => ({
      length: LENGTHS[kind],
      counts,
      first,
      hits: new Uint32Array(counts.length),
    }));
  }

  /** At most so many bytes are held while one is built over `nTokens`, those of the tokens not counted. */
  static bytes(nTokens: number): number {
    const perToken = 4 * N_KINDS;
    const kept = perToken * nTokens + 3 * perToken * nTokens;
    return kept + perToken * nTokens + 8 * nTokens;
  }

  /**
   * The label of a latent that fires on the tokens `rows`, ascending, with activations `values`.
   * `topLogits`: tokens of its largest logits; null if there are none.
   */
  label(rows: Uint32Array, values: Float32Array, topLogits: Pick<RankedTokens, "ids"> | null): Label {
    if (values.length !== rows.length) throw new ShapeError("activations", values.length, rows.length);
    this.#check(rows);
    if (rows.length === 0) return NONE;
    const best = this.#best(rows);
    if (best !== null && 2 * best.hits >= this.#limits.leastF1 * (best.count + rows.length)) {
      const gram = best.grams.length === 1 ? best.grams[0] : this.#strongest(best, rows, values);
      const kind = this.#kinds[best.kind];
      return {
        text: this.#text(kind, gram),
        kind: kind.length === 1 ? "token" : "ngram",
        precision: best.hits / best.count,
        recall: best.hits / rows.length,
      };
    }
    if (topLogits === null || topLogits.ids.length === 0) return NONE;
    const named = Array.from(topLogits.ids.subarray(0, NAMED_LOGITS), (id) => this.#textOf([id]));
    return { ...NONE, text: outputText(named), kind: "output" };
  }

  #check(rows: Uint32Array): void {
    for (let i = 0; i < rows.length; i++)
      if (rows[i] >= this.#tokens.nTokens || (i > 0 && rows[i] <= rows[i - 1]))
        throw new ShapeError(
          "row of an activation",
          rows[i],
          `ascending and below ${this.#tokens.nTokens}, the tokens indexed`,
        );
  }

  /**
   * The best candidate, if any reaches the limits. Hits are at most the trigger's tokens c and at most the latent's n, so an
   * F1 of f needs n · f / (2 − f) ≤ c ≤ n · (2 − f) / f: grams being numbered by c, only a range of them is looked at.
   */
  #best(rows: Uint32Array): Best | null {
    const n = rows.length;
    const { leastHits, leastF1 } = this.#limits;
    const grams = this.#grams;
    if (this.#touched.length < n) this.#touched = new Uint32Array(2 * n);
    const touched = this.#touched;
    let best: Best | null = null;
    for (let kind = 0; kind < N_KINDS; kind++) {
      const { counts, hits } = this.#kinds[kind];
      const from = firstBelow(counts, Math.ceil((n * (2 - leastF1)) / leastF1) + 2);
      const to = firstBelow(counts, Math.max(leastHits, Math.floor((n * leastF1) / (2 - leastF1)) - 1));
      if (from >= to) continue;
      let nTouched = 0;
      for (let i = 0; i < n; i++) {
        const gram = grams[rows[i] * N_KINDS + kind];
        if (gram >= to || gram < from) continue;
        if (hits[gram]++ === 0) touched[nTouched++] = gram;
      }
      for (let i = 0; i < nTouched; i++) {
        const gram = touched[i];
        const own = hits[gram];
        const count = counts[gram];
        hits[gram] = 0;
        if (own < leastHits) continue;
        const more: number = best === null ? 1 : own * (best.count + n) - best.hits * (count + n);
        if (best === null || more > 0) best = { kind, hits: own, count, grams: [gram] };
        else if (more === 0 && best.kind === kind) best.grams.push(gram);
      }
    }
    return best;
  }

  /** Of equals, the one with the larger sum of activations; then the one that occurs first. */
  #strongest({ kind, grams }: Best, rows: Uint32Array, values: Float32Array): number {
    const { first } = this.#kinds[kind];
    const sums = new Map([...grams].sort((a, b) => first[a] - first[b]).map((gram) => [gram, 0]));
    rows.forEach((row, i) => {
      const gram = this.#grams[row * N_KINDS + kind];
      const sum = sums.get(gram);
      if (sum !== undefined) sums.set(gram, sum + values[i]);
    });
    let [found, most] = [0, Number.NEGATIVE_INFINITY];
    for (const [gram, sum] of sums) if (sum > most) [found, most] = [gram, sum];
    return found;
  }

  #text({ length, first }: Kind, gram: number): string {
    const { tokenIds, previous, previous2 } = this.#tokens;
    const row = first[gram];
    const of = (id: number) => this.#textOf([id]);
    if (length === 0) return afterText(of(previous[row]));
    const ids = [previous2[row], previous[row], tokenIds[row]].slice(3 - length);
    return runText(ids.map(of));
  }
}

/** In descending numbers, the place of the first that is below `bound`. */
function firstBelow(counts: Uint32Array, bound: number): number {
  let [low, high] = [0, counts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (counts[middle] < bound) high = middle;
    else low = middle + 1;
  }
  return low;
}
