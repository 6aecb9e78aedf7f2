/** Search and sort against the plain way of doing it: filter all, sort by comparing, nothing kept. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Latents } from "./latents.ts";
import { type Query, Searcher, SORTS, type SortKey, STATES } from "./search.ts";

const N = 60;
const LABELS = ['" bank"', '" the"', "", '"BANK of"', '"12"', "é"];

/** Few values, so that many are equal, and some are missing. */
const number = fc.constantFrom(0, 0.5, 1, 2, 3.25, Number.NaN);
const column = fc.array(number, { minLength: N, maxLength: N }).map((values) => Float64Array.from(values));

const someLatents: fc.Arbitrary<Latents> = fc
  .record({
    n_active: column,
    density: column,
    base_density: column,
    max_act: column,
    decoder_drift_cosine: column,
    level: column,
    label_precision: column,
    label_recall: column,
    dead_in_training: column,
    n_resampled: column,
    score: column,
    label: fc.array(fc.constantFrom(...LABELS), { minLength: N, maxLength: N }),
    explanation: fc.option(
      fc.array(fc.constantFrom("", "a river Bank", "12"), { minLength: N, maxLength: N }),
    ),
  })
  .map(({ label, explanation, score, ...numbers }) => ({
    nLatents: N,
    numbers: { ...numbers, latent: Float64Array.from({ length: N }, (_, i) => i) },
    label,
    explanation,
    score,
  }));

const bound = fc.constantFrom(null, 0, 0.5, 1, 2);
const someQuery: fc.Arbitrary<Query> = fc.record({
  text: fc.constantFrom("", "bank", " BANK", "12", "#7", "nothing", "é"),
  state: fc.constantFrom(...STATES),
  level: fc.constantFrom(null, 0, 1),
  ranges: fc.dictionary(
    fc.constantFrom("density", "drift", "change"),
    fc.record({ low: bound, high: bound }),
  ),
  among: fc.option(fc.uniqueArray(fc.nat(N - 1)).map((list) => Uint32Array.from(list).sort())),
  sort: fc.constantFrom(...SORTS),
  direction: fc.constantFrom("up", "down"),
});

function naive(latents: Latents, query: Query): number[] {
  const { numbers, label, explanation } = latents;
  const value = (key: SortKey, i: number): number => {
    if (key === "score") return latents.score?.[i] ?? Number.NaN;
    const columns = {
      density: numbers.density,
      act: numbers.max_act,
      drift: numbers.decoder_drift_cosine,
      level: numbers.level,
      precision: numbers.label_precision,
      recall: numbers.label_recall,
    };
    if (key === "latent" || key === "label") return i;
    if (key !== "change") return columns[key][i];
    const [after, before] = [numbers.density[i], numbers.base_density[i]];
    return after > 0 && before > 0 ? Math.log10(after / before) : Number.NaN;
  };
  const fits = (i: number) =>
    (query.among === null || query.among.includes(i)) &&
    (query.state !== "alive" || numbers.n_active[i] > 0) &&
    (query.state !== "silent" || numbers.n_active[i] === 0) &&
    (query.state !== "dead" || numbers.dead_in_training[i] === 1) &&
    (query.state !== "resampled" || numbers.n_resampled[i] > 0) &&
    (query.level === null || numbers.level[i] === query.level) &&
    Object.entries(query.ranges).every(
      ([key, { low, high }]) =>
        value(key as SortKey, i) >= (low ?? Number.NEGATIVE_INFINITY) &&
        value(key as SortKey, i) <= (high ?? Number.POSITIVE_INFINITY),
    ) &&
    (query.text.trim() === "" ||
      query.text === String(i) ||
      query.text === `#${i}` ||
      label[i].toLowerCase().includes(query.text.toLowerCase()) ||
      (explanation?.[i] ?? "").toLowerCase().includes(query.text.toLowerCase()));
  const sign = query.direction === "up" ? 1 : -1;
  const compare = (a: number, b: number): number => {
    if (query.sort === "label") {
      if (label[a] === "" || label[b] === "") return Number(label[a] === "") - Number(label[b] === "");
      const [x, y] = [label[a].toLowerCase(), label[b].toLowerCase()];
      return x === y ? 0 : x < y ? -sign : sign;
    }
    const [x, y] = [value(query.sort, a), value(query.sort, b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
    return sign * (x - y);
  };
  return Array.from({ length: N }, (_, i) => i)
    .filter(fits)
    .sort((a, b) => compare(a, b) || a - b);
}

describe("Searcher", () => {
  it("finds what the plain way finds, in the same order, one query after another", () => {
    fc.assert(
      fc.property(someLatents, fc.array(someQuery, { minLength: 1, maxLength: 4 }), (latents, queries) => {
        const searcher = new Searcher(latents);
        for (const query of queries) expect([...searcher.find(query)]).toEqual(naive(latents, query));
      }),
    );
  });
});
