/**
 * Search and sort over all latents, in memory: a pure function of the columns and what is asked. Orders are kept, so that
 * typing sorts nothing anew.
 */
import type { Latents } from "./latents.ts";

/** What lists are sorted by, and ranges are asked of. */
export const SORTS = [
  "latent",
  "label",
  "density",
  "act",
  "drift",
  "change",
  "level",
  "precision",
  "recall",
  "score",
] as const;
export type SortKey = (typeof SORTS)[number];

/** Of those that are a column as it is, which. */
const COLUMNS = {
  latent: "latent",
  density: "density",
  act: "max_act",
  drift: "decoder_drift_cosine",
  level: "level",
  precision: "label_precision",
  recall: "label_recall",
} as const;
export type Direction = "up" | "down";

export const STATES = ["all", "alive", "silent", "dead", "resampled"] as const;
/** alive: fires in the index; silent: does not; dead: at training's end, by training's definition */
export type LatentState = (typeof STATES)[number];

export interface Query {
  /** part of a label or explanation, upper and lower case alike; a number is also the latent itself */
  readonly text: string;
  readonly state: LatentState;
  /** matryoshka level; null: all */
  readonly level: number | null;
  /** inclusive; latents without the number are left out */
  readonly ranges: Partial<Readonly<Record<SortKey, Bounds>>>;
  /** only these, ascending; null: all */
  readonly among: Uint32Array | null;
  readonly sort: SortKey;
  readonly direction: Direction;
}

/** null: open on that side */
export interface Bounds {
  readonly low: number | null;
  readonly high: number | null;
}

/** Searches one index. */
export class Searcher {
  readonly #latents: Latents;
  readonly #keys = new Map<SortKey, Float64Array>();
  readonly #orders = new Map<string, Uint32Array>();
  #texts: readonly string[] | undefined;

  constructor(latents: Latents) {
    this.#latents = latents;
  }

  /**
   * Latents that fit the query, in its order; of equal ones the lowest first, those without the number or label last.
   * Labels are in the order of their lower-case letters' numbers.
   */
  find(query: Query): Uint32Array {
    const order = this.#order(query.sort, query.direction);
    const fits = this.#tests(query);
    if (fits.length === 0) return order;
    const found = new Uint32Array(order.length);
    let n = 0;
    for (const latent of order) if (fits.every((test) => test(latent))) found[n++] = latent;
    return found.subarray(0, n);
  }

  /** The numbers behind a sort key, NaN where a latent has none. */
  numbers(key: SortKey): Float64Array {
    const kept = this.#keys.get(key) ?? keyNumbers(this.#latents, key);
    this.#keys.set(key, kept);
    return kept;
  }

  #tests({ text, state, level, ranges, among }: Query): ((latent: number) => boolean)[] {
    const { numbers, nLatents } = this.#latents;
    const tests: ((latent: number) => boolean)[] = [];
    if (among !== null) {
      const chosen = new Uint8Array(nLatents);
      for (const latent of among) chosen[latent] = 1;
      tests.push((latent) => chosen[latent] === 1);
    }
    if (state === "alive") tests.push((latent) => numbers.n_active[latent] > 0);
    if (state === "silent") tests.push((latent) => numbers.n_active[latent] === 0);
    if (state === "dead") tests.push((latent) => numbers.dead_in_training[latent] === 1);
    if (state === "resampled") tests.push((latent) => numbers.n_resampled[latent] > 0);
    if (level !== null) tests.push((latent) => numbers.level[latent] === level);
    for (const [key, { low, high }] of Object.entries(ranges) as [SortKey, Bounds][]) {
      const values = this.numbers(key);
      const [least, most] = [low ?? Number.NEGATIVE_INFINITY, high ?? Number.POSITIVE_INFINITY];
      tests.push((latent) => values[latent] >= least && values[latent] <= most);
    }
    const wanted = text.trim().toLowerCase();
    if (wanted !== "") {
      const texts = this.#searched();
      const itself = /^#?\d+$/.test(wanted) ? Number(wanted.replace("#", "")) : -1;
      const needle = text.toLowerCase();
      tests.push((latent) => latent === itself || texts[latent].includes(needle));
    }
    return tests;
  }

  #searched(): readonly string[] {
    const { label, explanation } = this.#latents;
    this.#texts ??= label.map((text, i) =>
      (explanation === null ? text : `${text}\n${explanation[i]}`).toLowerCase(),
    );
    return this.#texts;
  }

  #order(sort: SortKey, direction: Direction): Uint32Array {
    const name = `${sort} ${direction}`;
    const kept = this.#orders.get(name) ?? this.#sorted(sort, direction);
    this.#orders.set(name, kept);
    return kept;
  }

  #sorted(sort: SortKey, direction: Direction): Uint32Array {
    const order = new Uint32Array(this.#latents.nLatents);
    for (let i = 0; i < order.length; i++) order[i] = i;
    const sign = direction === "up" ? 1 : -1;
    if (sort === "label") {
      const texts = this.#latents.label.map((text) => text.toLowerCase());
      const place = (a: number, b: number) =>
        texts[a] === "" || texts[b] === ""
          ? Number(texts[a] === "") - Number(texts[b] === "")
          : sign * (texts[a] < texts[b] ? -1 : Number(texts[a] > texts[b]));
      return order.sort((a, b) => place(a, b) || a - b);
    }
    const values = this.numbers(sort);
    const last = Number.POSITIVE_INFINITY;
    const keys = values.map((value) => (Number.isNaN(value) ? last : sign * value));
    return order.sort((a, b) => keys[a] - keys[b] || a - b);
  }
}

function keyNumbers({ numbers, score, nLatents }: Latents, key: SortKey): Float64Array {
  if (key === "score") return score ?? new Float64Array(nLatents).fill(Number.NaN);
  if (key === "change") {
    const { density, base_density: before } = numbers;
    return density.map((after, i) =>
      after > 0 && before[i] > 0 ? Math.log10(after / before[i]) : Number.NaN,
    );
  }
  return numbers[COLUMNS[key === "label" ? "latent" : key]];
}
