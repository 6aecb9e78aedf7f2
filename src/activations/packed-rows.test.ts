/** Rows packed for a store: the nearest bf16, in any order, without what cannot be held. */
import { describe, expect, it } from "vitest";
import { Philox } from "../random/philox.ts";
import { bf16ToF32, f32ToBf16 } from "../tensor/half.ts";
import { PackedRows } from "./packed-rows.ts";
import { allocateRows, selectRows } from "./rows.ts";

const D_IN = 7;
const N_ROWS = 40;
const noise = new Philox(5, "packed");
const numbers = Float32Array.from(
  { length: N_ROWS * D_IN },
  (_, i) => noise.normal(i) * 10 ** ((i % 60) - 30),
);

function labels() {
  const { activations: _, ...rest } = allocateRows(N_ROWS, D_IN);
  rest.tokenIds.forEach((_id, row) => {
    rest.tokenIds[row] = 100 + row;
  });
  return rest;
}

/** All rows of `numbers`, set back to front, three at a time. */
function packed(dtype: "bf16" | "f32", source = numbers): PackedRows {
  const rows = new PackedRows(labels(), D_IN, dtype);
  for (let row = N_ROWS - 1; row >= 0; row -= 3) {
    const first = Math.max(0, row - 2);
    rows.set(first, row + 1 - first, source, first * D_IN);
  }
  return rows;
}

function written(rows: PackedRows): number[] {
  return [...rows.fitPieces()].flatMap((piece) => [...piece]);
}

describe("packed rows", () => {
  it("are what the source holds, rounded to the nearest", () => {
    expect(written(packed("f32"))).toEqual([...numbers]);
    expect(written(packed("bf16"))).toEqual([...f32ToBf16(numbers)]);
    expect(packed("bf16").nUnfit).toBe(0);
    expect(packed("bf16").fitLabels().tokenIds).toEqual(labels().tokenIds);
  });

  it("round ties to even, keep denormals and both zeros", () => {
    const ties = Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, -0, 0, 1e-40, -1e-45, 3.3895313892515355e38);
    const rows = new PackedRows({ ...labels(), nRows: 1 }, D_IN, "bf16");
    rows.set(0, 1, ties, 0);
    const got = bf16ToF32(Uint16Array.from(written(rows)));
    expect([...got]).toEqual([...bf16ToF32(f32ToBf16(ties))]);
    expect([got[0], got[1]]).toEqual([1, 1 + 2 ** -6]);
    expect(Object.is(got[2], -0)).toBe(true);
  });

  it.each([
    ["f32", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], [3.4e38, -3.4e38]],
    ["bf16", [Number.NaN, Number.NEGATIVE_INFINITY, 3.4e38, -3.4e38], [3.389e38, -3.389e38]],
  ] as const)("in %s leave out %j but not %j", (dtype, bad, good) => {
    const source = numbers.slice();
    const badRows = bad.map((value, i) => {
      const row = [0, 20, 21, N_ROWS - 1][i];
      source[row * D_IN + i] = value;
      return row;
    });
    good.forEach((value, i) => {
      source[(5 + i) * D_IN] = value;
    });
    const rows = packed(dtype, source);
    const fit = labels().tokenIds.filter((_, row) => !badRows.includes(row));
    expect(rows.nUnfit).toBe(bad.length);
    expect([...rows.fitLabels().tokenIds]).toEqual([...fit]);
    const all = { ...labels(), activations: source };
    const kept = selectRows(
      all,
      D_IN,
      [...fit].map((id) => id - 100),
    ).activations;
    expect(written(rows)).toEqual([...(dtype === "f32" ? kept : f32ToBf16(kept))]);
  });

  it("come in pieces of whole rows that leave the event loop its turns", async () => {
    const dIn = 1 << 16;
    const rows = await PackedRows.from(allocateRows(40, dIn), dIn, "bf16");
    const pieces = [...rows.fitPieces()].map((piece) => piece.length / dIn);
    expect(pieces).toEqual([16, 16, 8]);
  });
});
