/** Labels by the best trigger: those of trying every trigger on every token, and what their text says, read back. */
import { describe, expect, it } from "vitest";
import { Philox } from "../../random/philox.ts";
import { type IndexedTokens, type Label, NO_TOKEN } from "./labels.ts";
import { triggerOf } from "./trigger.ts";
import { TRIGGER_LIMITS, TriggerFinder, type TriggerLimits } from "./trigger-finder.ts";

/** Windows of token ids as they come; `kept` says which tokens are indexed. */
function indexed(windows: readonly (readonly number[])[], kept = (_at: number) => true): IndexedTokens {
  const columns: [number, number, number][] = [];
  for (const window of windows)
    window.forEach((id, at) => {
      if (kept(at)) columns.push([id, window[at - 1] ?? NO_TOKEN, window[at - 2] ?? NO_TOKEN]);
    });
  const column = (i: number) => Uint32Array.from(columns, (c) => c[i]);
  return { nTokens: columns.length, tokenIds: column(0), previous: column(1), previous2: column(2) };
}

const textOf = (ids: readonly number[]) => ids.map((id) => `<${id}>`).join("");

/** Tries every trigger there is, one after the other, on every token. */
function byTrying(
  { nTokens, tokenIds, previous, previous2 }: IndexedTokens,
  rows: Uint32Array,
  values: Float32Array,
  { leastHits, leastF1 }: TriggerLimits,
): Label {
  const active = new Map(Array.from(rows, (row, i) => [row, values[i]]));
  const keys: ((row: number) => readonly number[])[] = [
    (row) => [tokenIds[row]],
    (row) => [previous[row], tokenIds[row]],
    (row) => [previous[row]],
    (row) => [previous2[row], previous[row], tokenIds[row]],
  ];
  const found: { order: number[]; label: Label }[] = [];
  keys.forEach((keyOf, kind) => {
    const seen = new Map<string, { ids: readonly number[]; count: number; hits: number; sum: number }>();
    for (let row = 0; row < nTokens; row++) {
      const ids = keyOf(row);
      if (ids.includes(NO_TOKEN)) continue;
      const one = seen.get(ids.join()) ?? { ids, count: 0, hits: 0, sum: 0 };
      seen.set(ids.join(), one);
      one.count++;
      const value = active.get(row);
      if (value === undefined) continue;
      one.hits++;
      one.sum += value;
    }
    [...seen.values()].forEach(({ ids, count, hits, sum }, first) => {
      const f1 = (2 * hits) / (count + rows.length);
      if (hits < leastHits || f1 < leastF1) return;
      const text = kind === 2 ? `after "${textOf(ids)}"` : `"${textOf(ids)}"`;
      found.push({
        order: [-f1, kind, -sum, first],
        label: {
          text,
          kind: kind === 0 ? "token" : "ngram",
          precision: hits / count,
          recall: hits / rows.length,
        },
      });
    });
  });
  found.sort((a, b) => a.order.map((value, i) => value - b.order[i]).find((d) => d !== 0) ?? 0);
  return found[0]?.label ?? { text: "", kind: "none", precision: null, recall: null };
}

describe("TriggerFinder", () => {
  it.each([3, 6, 40])("vocabulary of %i: what trying everything finds", (vocab) => {
    const random = new Philox(1, `labels ${vocab}`);
    const windows = Array.from({ length: 30 }, (_, w) =>
      Array.from({ length: 20 }, (_, at) => Math.floor(vocab * random.uniform(w * 20 + at) ** 2)),
    );
    const tokens = indexed(windows, (at) => at !== 0 && at % 7 !== 3);
    const kinds = new Set<string>();
    for (const limits of [TRIGGER_LIMITS, { leastHits: 1, leastF1: 0.05 }]) {
      const finder = new TriggerFinder(tokens, textOf, limits);
      for (let latent = 0; latent < 60; latent++) {
        // Fires mostly on one kind of run, and now and then elsewhere.
        const ids = [0, 1, 2].map((i) => Math.floor(vocab * random.uniform(1e6 + 3 * latent + i) ** 2));
        const rows: number[] = [];
        for (let row = 0; row < tokens.nTokens; row++) {
          const columns = [tokens.tokenIds[row], tokens.previous[row], tokens.previous2[row]];
          const on = [() => columns[0] === ids[0], () => columns[1] === ids[1]];
          const matches = [on[0], on[1], () => on[0]() && on[1](), () => on[0]() && columns[2] === ids[2]];
          const u = random.uniform(1e7 + latent * 1000 + row);
          if (matches[latent % 4]() ? u < 0.8 : u < 0.02) rows.push(row);
        }
        const active = Uint32Array.from(rows);
        // Few different values, so that sums tie too.
        const values = Float32Array.from(rows, (row) => 1 + (row % 2));
        const label = finder.label(active, values, null);
        expect(label).toEqual(byTrying(tokens, active, values, limits));
        kinds.add(label.text.startsWith("after") ? "after" : label.kind);
      }
    }
    expect([...kinds].sort()).toEqual(expect.arrayContaining(["after", "ngram", "token"]));
  });

  it("by hand: counts over all indexed tokens, and none across windows", () => {
    //                        rows 0 … 4        5 … 9            10, 11
    const tokens = indexed([
      [5, 6, 7, 6, 7],
      [6, 7, 5, 5, 7],
      [7, 7],
    ]);
    const finder = new TriggerFinder(tokens, textOf);
    const label = (rows: number[]) =>
      finder.label(Uint32Array.from(rows), new Float32Array(rows.length).fill(1), null);
    // 6 7 ends at 2, 4, 6; 7 alone also at 9, 10, 11; after 6 is always 7, and the run is the simpler trigger
    expect(label([2, 4, 6])).toEqual({ text: '"<6><7>"', kind: "ngram", precision: 1, recall: 1 });
    // without one of the run's rows the token's three others make it the better trigger
    expect(label([2, 4, 9, 10])).toEqual({
      text: '"<7>"',
      kind: "token",
      precision: 4 / 6,
      recall: 1,
    });
    // after 5: rows 1, 8, 9
    expect(label([1, 8, 9])).toEqual({ text: 'after "<5>"', kind: "ngram", precision: 1, recall: 1 });
    // fires often enough on nothing
    expect(label([0, 1])).toEqual({ text: "", kind: "none", precision: null, recall: null });
    expect(label([])).toEqual({ text: "", kind: "none", precision: null, recall: null });
  });

  it("names the top logits where nothing it fires on explains it", () => {
    const finder = new TriggerFinder(indexed([[1, 2, 3, 4]]), textOf);
    const ids = Uint32Array.of(9, 8, 7, 6);
    const label = finder.label(Uint32Array.of(0, 2), Float32Array.of(1, 1), { ids });
    expect(label).toEqual({
      text: 'promotes "<9>", "<8>", "<7>"',
      kind: "output",
      precision: null,
      recall: null,
    });
    expect(triggerOf(label)).toBe(null);
    expect(finder.label(new Uint32Array(0), new Float32Array(0), { ids }).kind).toBe("none");
  });

  it("refuses what is not of the index", () => {
    const tokens = indexed([[1, 2, 3]]);
    const finder = new TriggerFinder(tokens, textOf);
    const label = (...rows: number[]) => finder.label(Uint32Array.from(rows), new Float32Array(2), null);
    expect(() => label(0, 3)).toThrow(/got 3, expected ascending and below 3/);
    expect(() => label(1, 1)).toThrow(/ascending/);
    expect(() => label(1)).toThrow(/activations: got 2, expected 1/);
    expect(() => new TriggerFinder({ ...tokens, nTokens: 4 }, textOf)).toThrow(/column of indexed tokens/);
  });
});

describe("triggerOf", () => {
  it("predicts from the stored text what the label counted", () => {
    const random = new Philox(2, "triggers");
    const windows = Array.from({ length: 40 }, (_, w) =>
      Array.from({ length: 16 }, (_, at) => Math.floor(8 * random.uniform(w * 16 + at) ** 2)),
    );
    const tokens = indexed(windows);
    const finder = new TriggerFinder(tokens, textOf, { leastHits: 1, leastF1: 0.01 });
    const texts = windows.map((window) => window.map((id) => textOf([id])));
    const kinds = new Set<string>();
    for (let latent = 0; latent < 40; latent++) {
      const rows: number[] = [];
      for (let row = 0; row < tokens.nTokens; row++) {
        const column = [tokens.tokenIds, tokens.previous][latent % 2];
        const twice = latent % 3 > 0 || tokens.previous2[row] === latent % 5;
        if (column[row] === latent % 7 && twice) rows.push(row);
      }
      if (rows.length === 0) continue;
      const active = new Set(rows);
      const label = finder.label(Uint32Array.from(rows), new Float32Array(rows.length).fill(1), null);
      const trigger = triggerOf(label);
      let [occurrences, hits, row] = [0, 0, 0];
      for (const window of texts)
        window.forEach((_, at) => {
          if (trigger?.fires(window, at)) {
            occurrences++;
            if (active.has(row)) hits++;
          }
          row++;
        });
      expect(hits / occurrences).toBe(label.precision);
      expect(hits / rows.length).toBe(label.recall);
      kinds.add(label.text.startsWith("after") ? "after" : label.kind);
    }
    expect([...kinds].sort()).toEqual(["after", "ngram", "token"]);
  });

  it("reads texts with quotes and line breaks, and takes nothing else for a trigger", () => {
    const label = (text: string, kind: Label["kind"] = "ngram") => triggerOf({ text, kind });
    expect(label('"\\"\\n"', "token")?.fires(['"\n'], 0)).toBe(true);
    expect(label('" of the"')?.fires([" of", " the"], 1)).toBe(true);
    expect(label('" of the"')?.fires(["x", " o", "f", " the"], 3)).toBe(true);
    expect(label('" of the"')?.fires([" of the"], 0)).toBe(false);
    expect(label('" of the"')?.fires([" the"], 0)).toBe(false);
    expect(label('after " the"')?.fires([" the", "x"], 1)).toBe(true);
    expect(label('after " the"')?.fires(["x"], 0)).toBe(false);
    expect(label("of the")).toBe(null);
    expect(label("7", "token")).toBe(null);
    expect(label('" bank"', "none")).toBe(null);
  });
});
