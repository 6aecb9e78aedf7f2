/** Finds what a latent fires on: the token or the few tokens in a row that its activations coincide with best. */
import { ShapeError } from "../../errors.ts";
import type { RankedTokens } from "../logits/logits.ts";
import { type Grams, numberGrams } from "./grams.ts";
import { type IndexedTokens, type Label, NO_TOKEN } from "./labels.ts";
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

/** A kind of trigger, simplest first. `length`: tokens ending at the one it fires on; 0: the one before it, alone */
interface Kind {
  readonly length: 0 | 1 | 2 | 3;
  readonly grams: Grams;
  /** [grams] scratch: hits of the latent at hand; 0 between calls */
  readonly hits: Uint32Array;
}

interface Best {
  kind: Kind;
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
 * Memory   `TriggerFinder.bytes`, while it is built; about 60 bytes a token
 * @throws {ShapeError} columns of different lengths; rows that are not ascending tokens of the index
 */
export class TriggerFinder {
  readonly #tokens: IndexedTokens;
  readonly #textOf: (ids: readonly number[]) => string;
  readonly #limits: TriggerLimits;
  readonly #kinds: readonly Kind[];

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
    const token = numberGrams(tokenIds, null);
    const before = numberGrams(previous, null);
    const two = numberGrams(token.at, previous);
    const three = numberGrams(two.at, previous2);
    const kinds: [Kind["length"], Grams][] = [
      [1, token],
      [2, two],
      [0, before],
      [3, three],
    ];
    this.#kinds = kinds.map(([length, grams]) => ({
      length,
      grams,
      hits: new Uint32Array(grams.counts.length),
    }));
  }

  /** At most so many bytes are held while one is built over `nTokens`, those of the tokens not counted. */
  static bytes(nTokens: number): number {
    const kept = 4 * (4 + 3 * 4) * nTokens;
    return kept + 8 * nTokens + 4 * 2 ** Math.ceil(Math.log2(2 * nTokens + 2));
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
      const gram = best.grams.length === 1 ? best.grams[0] : strongest(best, rows, values);
      return {
        text: this.#text(best.kind, gram),
        kind: best.kind.length === 1 ? "token" : "ngram",
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

  #best(rows: Uint32Array): Best | null {
    const n = rows.length;
    let best: Best | null = null;
    for (const kind of this.#kinds) {
      const { hits } = kind;
      const { at, counts } = kind.grams;
      for (let i = 0; i < n; i++) {
        const gram = at[rows[i]];
        if (gram !== NO_TOKEN) hits[gram]++;
      }
      for (let i = 0; i < n; i++) {
        const gram = at[rows[i]];
        if (gram === NO_TOKEN || hits[gram] === 0) continue;
        const own = hits[gram];
        hits[gram] = 0;
        if (own < this.#limits.leastHits) continue;
        const count = counts[gram];
        const more = best === null ? 1 : own * (best.count + n) - best.hits * (count + n);
        if (best === null || more > 0) best = { kind, hits: own, count, grams: [gram] };
        else if (more === 0 && best.kind === kind) best.grams.push(gram);
      }
    }
    return best;
  }

  #text({ length, grams }: Kind, gram: number): string {
    const { tokenIds, previous, previous2 } = this.#tokens;
    const row = grams.first[gram];
    const of = (id: number) => this.#textOf([id]);
    if (length === 0) return afterText(of(previous[row]));
    const ids = [previous2[row], previous[row], tokenIds[row]].slice(3 - length);
    return runText(ids.map(of));
  }
}

/** Of equals, the one with the larger sum of activations; then the one that occurs first, which has the lowest number. */
function strongest({ kind, grams }: Best, rows: Uint32Array, values: Float32Array): number {
  const sums = new Map([...grams].sort((a, b) => a - b).map((gram) => [gram, 0]));
  rows.forEach((row, i) => {
    const gram = kind.grams.at[row];
    const sum = sums.get(gram);
    if (sum !== undefined) sums.set(gram, sum + values[i]);
  });
  let [found, most] = [0, Number.NEGATIVE_INFINITY];
  for (const [gram, sum] of sums) if (sum > most) [found, most] = [gram, sum];
  return found;
}
