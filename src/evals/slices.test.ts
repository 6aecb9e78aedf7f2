/** Slices against evaluating their tokens alone, and what is left out when nothing is known. */
import { describe, expect, it } from "vitest";
import { D_IN, naive, normals, pick, reconstructor, rowsFor, shrunk } from "../../test/evals/fixtures.ts";
import { ROLES } from "../corpus/windows.ts";
import { type EvaluateOptions, evaluateRows } from "./evaluate.ts";
import { positionBucket } from "./slices.ts";

const N = 300;
const x = normals(N * D_IN, "x", 2).map((value, i) => value * (1 + ((i / D_IN) % 7)));
const labels = {
  tokenIds: Uint32Array.from({ length: N }, (_, t) => t % 10),
  position: Uint32Array.from({ length: N }, (_, t) => t % 100),
  document: Uint32Array.from({ length: N }, (_, t) => Math.floor(t / 10) + 7),
  role: Uint8Array.from({ length: N }, (_, t) =>
    t % 3 === 0 ? ROLES.indexOf("user") : ROLES.indexOf("assistant"),
  ),
};
const known: EvaluateOptions = {
  labels: {
    sourceOf: (document) => (document < 20 ? "books" : document < 30 ? "code" : null),
    classOf: (id) => (id < 3 ? "digit" : "word start"),
  },
  chunkRows: 41,
};

const slicesOf = async (options: EvaluateOptions, rows: Partial<typeof labels> = labels) =>
  (await evaluateRows(reconstructor(shrunk), { ...rowsFor(x), ...rows }, options)).result;

/** Slice over the tokens of which `isIn` holds, computed from them alone. */
function alone(name: string, isIn: (t: number) => boolean) {
  const tokens = Array.from({ length: N }, (_, t) => t).filter(isIn);
  const own = pick(x, tokens);
  const { ve, l0, mse } = naive(own, shrunk(own));
  const whole = naive(x, shrunk(x)).mse * N;
  return {
    name,
    nTokens: tokens.length,
    ve: expect.closeTo(ve, 11),
    l0: expect.closeTo(l0, 11),
    mse: expect.closeTo(mse, 9),
    sseShare: expect.closeTo((mse * tokens.length) / whole, 11),
  };
}

describe("slices", () => {
  it("are what their tokens give alone, about their own mean", async () => {
    const { slices } = await slicesOf(known);
    const by = Object.fromEntries(slices.map((group) => [group.by, group]));
    expect(slices.map((group) => group.by)).toEqual(["source", "role", "position", "tokenClass", "document"]);
    expect(by.source.slices).toEqual([
      alone("books", (t) => labels.document[t] < 20),
      alone("code", (t) => labels.document[t] >= 20 && labels.document[t] < 30),
      alone("unknown", (t) => labels.document[t] >= 30),
    ]);
    expect(by.role.slices).toEqual([
      alone("user", (t) => t % 3 === 0),
      alone("assistant", (t) => t % 3 !== 0),
    ]);
    expect(by.position.slices).toEqual([
      alone("0–3", (t) => t % 100 < 4),
      alone("4–15", (t) => t % 100 >= 4 && t % 100 < 16),
      alone("16–63", (t) => t % 100 >= 16 && t % 100 < 64),
      alone("64–255", (t) => t % 100 >= 64),
    ]);
    expect(by.tokenClass.slices).toEqual([
      alone("word start", (t) => t % 10 >= 3),
      alone("digit", (t) => t % 10 < 3),
    ]);
  });

  it("by document: the twenty with the most error, worst first, and quantiles of VE over all", async () => {
    const { slices, nDocuments } = await slicesOf(known);
    const group = slices.find(({ by }) => by === "document")!;
    expect([nDocuments, group.slices.length]).toEqual([30, 20]);
    for (const slice of group.slices) {
      const document = Number.parseInt(slice.name, 10);
      const source = known.labels!.sourceOf!(document);
      const name = source === null ? `${document}` : `${document} (${source})`;
      expect(slice).toEqual(alone(name, (t) => labels.document[t] === document));
    }
    const shares = group.slices.map(({ sseShare }) => sseShare);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    const ves = Array.from({ length: 30 }, (_, d) => {
      const own = x.slice(d * 10 * D_IN, (d + 1) * 10 * D_IN);
      return naive(own, shrunk(own)).ve;
    }).sort((a, b) => a - b);
    expect(group.quantiles!.map(({ percentile }) => percentile)).toEqual([0, 10, 25, 50, 75, 90, 100]);
    expect(group.quantiles![0].ve).toBeCloseTo(ves[0], 11);
    expect(group.quantiles![3].ve).toBeCloseTo((ves[14] + ves[15]) / 2, 11);
    expect(group.quantiles![6].ve).toBeCloseTo(ves[29], 11);
  });

  it("add up to the whole, each way", async () => {
    const { slices, nTokens } = await slicesOf(known);
    for (const { by, slices: list } of slices.filter(({ by }) => by !== "document")) {
      expect(
        list.reduce((sum, slice) => sum + slice.nTokens, 0),
        by,
      ).toBe(nTokens);
      expect(
        list.reduce((sum, slice) => sum + slice.sseShare, 0),
        by,
      ).toBeCloseTo(1, 12);
    }
  });

  it("leave out the ways that nothing is known about", async () => {
    const ways = async (...args: Parameters<typeof slicesOf>) =>
      (await slicesOf(...args)).slices.map(({ by }) => by);
    expect(await ways({}, {})).toEqual([]);
    expect(await ways(known, {})).toEqual([]);
    expect(await ways({})).toEqual(["role", "position", "document"]);
    expect(await ways({ labels: { sourceOf: () => null, classOf: () => null } })).toEqual([
      "role",
      "position",
      "document",
    ]);
    expect(await ways({}, { document: new Uint32Array(N).fill(4) })).toEqual([]);
  });

  it("have no VE where a slice does not vary", async () => {
    const flat = x.slice();
    for (let t = 0; t < 10; t++) flat.set(x.subarray(0, D_IN), t * D_IN);
    const { slices } = (
      await evaluateRows(reconstructor(shrunk), { ...rowsFor(flat), document: labels.document })
    ).result;
    const first = slices[0].slices.find(({ name }) => name === "7");
    expect(first === undefined ? null : first.ve).toBeNull();
    expect(slices[0].quantiles!.every(({ ve }) => Number.isFinite(ve))).toBe(true);
  });
});

it.each([
  [0, "0–3"],
  [3, "0–3"],
  [4, "4–15"],
  [1023, "256–1023"],
  [1024, "1024–4095"],
  [2 ** 31, "1073741824–4294967295"],
])("position %d is in bucket %s", (position, bucket) => {
  expect(positionBucket(position)).toBe(bucket);
});
