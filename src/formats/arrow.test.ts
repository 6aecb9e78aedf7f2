/**
 * Our reader of Arrow streams beside files that the apache-arrow library writes: every number type and list layout,
 * columns to skip, several batches and files; and bytes that lie, which must be refused and never crash.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Bool,
  type DataType,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FormatError, LapidaryError, ShapeError, UnsupportedError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import { f16ToF32 } from "../tensor/half.ts";
import { isArrowDataset, openArrowDataset } from "./arrow.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-arrow-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

type Columns = Record<string, { type: DataType; values: unknown[] }>;

const list = (type: DataType) => new List(new Field("item", type, true));
const fixed = (size: number, type: DataType) => new FixedSizeList(size, new Field("item", type, true));

function batchOf(columns: Columns, nRows: number): RecordBatch {
  const fields = Object.entries(columns).map(([name, { type }]) => new Field(name, type, true));
  const children = Object.values(columns).map(({ type, values }) => vectorFromArray(values, type).data[0]);
  return new RecordBatch(
    new Schema(fields),
    makeData({ type: new Struct(fields), length: nRows, nullCount: 0, children }),
  );
}

const streamOf = (batches: RecordBatch[]) => RecordBatchStreamWriter.writeAll(batches).toUint8Array(true);

async function writeDataset(files: Uint8Array[], features: object): Promise<void> {
  const names = files.map(
    (_, i) => `data-${String(i).padStart(5, "0")}-of-${String(files.length).padStart(5, "0")}.arrow`,
  );
  for (const [i, bytes] of files.entries()) await writeFile(join(dir, names[i]), bytes);
  await writeFile(join(dir, "dataset_info.json"), JSON.stringify({ features }));
  const state = { _data_files: names.map((filename) => ({ filename })) };
  await writeFile(join(dir, "state.json"), JSON.stringify(state));
}

/** Row r of a [2, 3] array. */
const grid = (r: number) => [
  [r, r + 0.25, -r],
  [r + 0.5, 100 - r, 0.125],
];
const grids = (from: number, n: number) => Array.from({ length: n }, (_, i) => grid(from + i));
const array2d = { _type: "Array2D", shape: [2, 3], dtype: "float32" };

describe("a save_to_disk folder", () => {
  it("is read by row ranges across batches and files, whatever columns stand before", async () => {
    const columns = (from: number, n: number): Columns => ({
      text: { type: new Utf8(), values: Array.from({ length: n }, (_, i) => `row ${from + i}`) },
      flag: { type: new Bool(), values: Array.from({ length: n }, (_, i) => i % 2 === 0) },
      acts: { type: list(list(new Float32())), values: grids(from, n) },
      ids: { type: fixed(3, new Int32()), values: Array.from({ length: n }, (_, i) => [from + i, -1, 7]) },
      score: { type: new Float64(), values: Array.from({ length: n }, (_, i) => (from + i) / 3) },
    });
    await writeDataset(
      [
        streamOf([batchOf(columns(0, 4), 4), batchOf(columns(4, 2), 2)]),
        streamOf([batchOf(columns(6, 5), 5)]),
      ],
      {
        text: { _type: "Value", dtype: "string" },
        flag: { _type: "Value", dtype: "bool" },
        acts: array2d,
        ids: { _type: "List", length: 3, feature: { _type: "Value", dtype: "int32" } },
        score: { _type: "Value", dtype: "float64" },
      },
    );
    expect(await isArrowDataset(dir)).toBe(true);
    const dataset = await openArrowDataset(dir);
    expect(dataset.nRows).toBe(11);
    expect([...dataset.columns.values()]).toEqual([
      { name: "acts", dtype: "F32", shape: [2, 3] },
      { name: "ids", dtype: "I32", shape: [3] },
      { name: "score", dtype: "F64", shape: [] },
    ]);
    for (const [from, to] of [
      [0, 11],
      [3, 8],
      [5, 6],
      [7, 7],
    ]) {
      expect(await dataset.read("acts", from, to)).toEqual(Float32Array.from(grids(from, to - from).flat(2)));
      expect([...(await dataset.read("ids", from, to))].filter((_, i) => i % 3 === 0)).toEqual(
        Array.from({ length: to - from }, (_, i) => from + i),
      );
      expect([...(await dataset.read("score", from, to))]).toEqual(
        Array.from({ length: to - from }, (_, i) => (from + i) / 3),
      );
    }
    await expect(dataset.read("acts", 0, 12)).rejects.toThrow(ShapeError);
    await expect(dataset.read("text", 0, 1)).rejects.toThrow(UnsupportedError);
  });

  it.each([
    ["half floats", new Float16(), "F16"],
    ["doubles", new Float64(), "F64"],
    ["64-bit integers", new Int64(), "I64"],
  ])("holds %s", async (_what, type, dtype) => {
    const rows = [
      [1, 2, -3],
      [4, 500, 6],
    ];
    const values = dtype === "I64" ? rows.map((row) => row.map(BigInt)) : rows;
    await writeDataset([streamOf([batchOf({ x: { type: list(type), values } }, 2)])], {
      x: { _type: "Sequence", length: 3, feature: { _type: "Value", dtype: "any" } },
    });
    const dataset = await openArrowDataset(dir);
    expect(dataset.columns.get("x")?.dtype).toBe(dtype);
    const read = await dataset.read("x", 0, 2);
    const numbers = dtype === "F16" ? f16ToF32(read as Uint16Array) : read;
    expect(Array.from(numbers, Number)).toEqual(rows.flat());
  });
});

describe("what is refused", () => {
  const one = (values: unknown[], type: DataType = list(list(new Float32()))) =>
    streamOf([batchOf({ acts: { type, values } }, values.length)]);

  it("rows of another shape, nulls, and other nesting", async () => {
    await writeDataset([one([grid(0), [[1, 2, 3]]])], { acts: array2d });
    await expect((await openArrowDataset(dir)).read("acts", 0, 2)).rejects.toThrow(/another length/);
    await writeDataset([one([grid(0), null])], { acts: array2d });
    await expect((await openArrowDataset(dir)).read("acts", 0, 1)).rejects.toThrow(/null/);
    await writeDataset([one([[1, 2]], list(new Float32()))], { acts: array2d });
    await expect(openArrowDataset(dir)).rejects.toThrow(/2 levels/);
    await writeDataset([one([[1, 2]], fixed(2, new Float32()))], {
      acts: { _type: "List", length: 3, feature: { _type: "Value" } },
    });
    await expect(openArrowDataset(dir)).rejects.toThrow(/lists of 2, expected 3/);
  });

  it("files that leave the folder, or that are the random-access format", async () => {
    await writeDataset([one([grid(0)])], { acts: array2d });
    for (const filename of ["../x.arrow", "/etc/x.arrow", "a\\b.arrow", "..", 3]) {
      await writeFile(join(dir, "state.json"), JSON.stringify({ _data_files: [{ filename }] }));
      await expect(openArrowDataset(dir)).rejects.toThrow(/no plain file name/);
    }
    const batch = batchOf({ acts: { type: list(list(new Float32())), values: [grid(0)] } }, 1);
    await writeDataset([RecordBatchFileWriter.writeAll([batch]).toUint8Array(true)], { acts: array2d });
    await expect(openArrowDataset(dir)).rejects.toThrow(UnsupportedError);
  });

  it("a file cut short anywhere", async () => {
    const whole = one(grids(0, 3));
    await writeDataset([whole], { acts: array2d });
    const path = join(dir, "data-00000-of-00001.arrow");
    for (let length = 0; length < whole.length; length += 5) {
      await writeFile(path, whole.subarray(0, length));
      await expect(openArrowDataset(dir), `${length} bytes`).rejects.toThrow(FormatError);
    }
  });

  it("flipped bytes of metadata: an error of ours or numbers, never a crash", async () => {
    await writeDataset([one(grids(0, 3))], { acts: array2d });
    const path = join(dir, "data-00000-of-00001.arrow");
    const whole = await readFile(path);
    const noise = new Philox(4, "flips");
    for (let trial = 0; trial < 400; trial++) {
      const bytes = Uint8Array.from(whole);
      for (let flip = 0; flip < 3; flip++)
        bytes[Math.floor(noise.uniform(6 * trial + 2 * flip) * bytes.length)] =
          noise.u32(12 * trial + 4 * flip + 2) & 0xff;
      await writeFile(path, bytes);
      const outcome = await openArrowDataset(dir)
        .then((dataset) => dataset.read("acts", 0, Math.min(3, dataset.nRows)))
        .catch((error: unknown) => error);
      if (!ArrayBuffer.isView(outcome)) expect(outcome).toBeInstanceOf(LapidaryError);
    }
  });
});
