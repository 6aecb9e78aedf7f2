/** Imports of safetensors dumps: every number kept, labels where they are known, resume, and refusals that say why. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataError, RecipeError, StateError } from "../errors.ts";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { Philox } from "../random/philox.ts";
import { writeJson } from "../storage/atomic.ts";
import { bf16ToF32, f32ToBf16, f32ToF16 } from "../tensor/half.ts";
import { importActivations } from "./import.ts";
import { openActivationStore } from "./store.ts";

const HOOK = { hook_name: "model.layers.4" };

let dir: string;
let source: string;
let out: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-import-"));
  source = join(dir, "dump");
  out = join(dir, "store");
  await mkdir(source);
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const values = (n: number, purpose = "dump") => {
  const noise = new Philox(2, purpose);
  return Float32Array.from({ length: n }, (_, i) => noise.normal(i));
};
const f32 = (nRows: number, dIn = 4, purpose = "dump"): TensorToWrite => ({
  name: "activations",
  dtype: "F32",
  shape: [nRows, dIn],
  data: values(nRows * dIn, purpose),
});
const i64 = (name: string, numbers: number[]): TensorToWrite => ({
  name,
  dtype: "I64",
  shape: [numbers.length],
  data: BigInt64Array.from(numbers, BigInt),
});
const write = (tensors: TensorToWrite[], metadata: Record<string, string> = HOOK, name = "a.safetensors") =>
  writeSafetensors(join(source, name), tensors, metadata);

async function imported(options: Partial<Parameters<typeof importActivations>[0]> = {}) {
  const manifest = await importActivations({ source, out, ...options });
  const store = await openActivationStore(out);
  return { manifest, rows: await store.rows(0, store.nRows) };
}

describe("safetensors files", () => {
  it("follow each other by name, with the labels they have", async () => {
    const labels = (first: number, n: number) => [
      i64(
        "token_ids",
        Array.from({ length: n }, (_, i) => 100 + first + i),
      ),
      { name: "document", dtype: "U32", shape: [n], data: new Uint32Array(n).fill(first) } as const,
      {
        name: "position",
        dtype: "I32",
        shape: [n],
        data: Int32Array.from({ length: n }, (_, i) => i),
      } as const,
    ];
    await write([f32(3, 4, "second"), ...labels(5, 3)], HOOK, "b.safetensors");
    await write([f32(5, 4, "first"), ...labels(0, 5)], { ...HOOK, model_name: "tiny" }, "a.safetensors");
    await writeFile(join(source, "notes.txt"), "not looked at");
    const { manifest, rows } = await imported({ set: "heldout" });
    expect(manifest).toMatchObject({
      complete: true,
      set: "heldout",
      dtype: "f32",
      hookName: "blocks.4.hook_resid_post",
      provenance: {
        importedFrom: { kind: "safetensors", nRows: 8 },
        model: "tiny",
        absentLabels: ["window", "role"],
      },
    });
    expect(rows.activations).toEqual(Float32Array.from([...values(20, "first"), ...values(12, "second")]));
    expect([...rows.tokenIds]).toEqual([100, 101, 102, 103, 104, 105, 106, 107]);
    expect([...rows.document]).toEqual([0, 0, 0, 0, 0, 5, 5, 5]);
    expect([...rows.position]).toEqual([0, 1, 2, 3, 4, 0, 1, 2]);
    expect([...rows.window, ...rows.role].every((label) => label === 0)).toBe(true);
  });

  it.each([
    ["BF16", "bf16", (x: Float32Array) => f32ToBf16(x)],
    ["F16", "f32", (x: Float32Array) => f32ToF16(x)],
    ["F64", "f32", (x: Float32Array) => Float64Array.from(x)],
  ] as const)("of %s become a store of %s without losing a bit", async (dtype, stored, encode) => {
    const exact = bf16ToF32(f32ToBf16(values(24))).map((x) => Math.round(x * 64) / 64); // fits every type
    await write([{ name: "activations", dtype, shape: [6, 4], data: encode(exact) }]);
    const { manifest, rows } = await imported({ source: join(source, "a.safetensors") });
    expect(manifest.dtype).toBe(stored);
    expect(rows.activations).toEqual(exact);
  });

  it("lose the rows of excluded tokens, and are narrowed if asked", async () => {
    await write([f32(5), i64("token_ids", [2, 7, 2, 8, 9])]);
    const { manifest, rows } = await imported({ excludedTokenIds: [9, 2, 2], dtype: "bf16" });
    expect([...rows.tokenIds]).toEqual([7, 8]);
    const all = bf16ToF32(f32ToBf16(values(20)));
    expect([...rows.activations]).toEqual([...all.slice(4, 8), ...all.slice(12, 16)]);
    expect(manifest.provenance.excludedTokenIds).toEqual([2, 9]);
  });
});

it("goes on where it was stopped, and is done when run again", async () => {
  await write([f32(25)]);
  const options = { source, out, rowsPerShard: 10 };
  const stop = new AbortController();
  const stopping = importActivations(options, {
    signal: stop.signal,
    onProgress: ({ phase }) => phase === "import" && stop.abort(),
  });
  await expect(stopping).rejects.toThrow(/abort/i);
  const before = await readFile(join(out, "manifest.json"), "utf8");
  expect(JSON.parse(before)).toMatchObject({ complete: false, shards: [{ nRows: 10 }] });
  const done: number[] = [];
  const manifest = await importActivations(options, {
    onProgress: ({ phase, done: rows }) => phase === "import" && done.push(rows),
  });
  expect(manifest).toMatchObject({ complete: true, nRows: 25 });
  expect(done).toEqual([20, 25]);
  expect(await importActivations(options)).toEqual(manifest);
  const store = await openActivationStore(out);
  expect((await store.rows(0, 25)).activations).toEqual(values(100));
  await store.close();
});

describe("what is refused", () => {
  it.each([
    ["another name", [{ ...f32(3), name: "acts" }], /no tensor "activations"; it holds acts/],
    ["windows not flattened", [{ ...f32(6), shape: [2, 3, 4] }], /\[2, 3, 4\], expected \[n, dIn\]/],
    ["a label of another length", [f32(3), i64("document", [1, 2])], /document.*\[2\], expected \[3\]/],
    ["a negative token id", [f32(3), i64("token_ids", [1, -100, 2])], /token_ids.*entry 1 is -100/],
    ["labels that are not whole", [f32(1), { ...f32(1, 1), name: "position", shape: [1] }], /position.*F32/],
    ["no rows", [f32(0)], /no activations/],
  ])("%s", async (_what, tensors, message) => {
    await write(tensors as TensorToWrite[]);
    const importing = importActivations({ source, out });
    await expect(importing).rejects.toThrow(message);
    await expect(importing).rejects.toThrow(DataError);
  });

  it("files that do not fit each other", async () => {
    await write([f32(3), i64("document", [0, 0, 1])]);
    await write([f32(3)], HOOK, "b.safetensors");
    await expect(importActivations({ source, out })).rejects.toThrow(/b\.safetensors has no labels/);
    await write([f32(3, 5), i64("document", [0, 0, 1])], HOOK, "b.safetensors");
    await expect(importActivations({ source, out })).rejects.toThrow(/rows of 5/);
    await write([f32(3), i64("document", [0, 0, 1])], { hook_name: "model.layers.5" }, "b.safetensors");
    await expect(importActivations({ source, out })).rejects.toThrow(/disagree about hook_name/);
  });

  it("exclusion by id without ids, an unknown hook point, nothing to import", async () => {
    await write([f32(3)], {});
    const hookName = "4";
    await expect(imported({ hookName, excludedTokenIds: [2] })).rejects.toThrow(/no token ids/);
    await expect(imported()).rejects.toThrow(RecipeError);
    expect((await imported({ hookName })).manifest.hookName).toBe("blocks.4.hook_resid_post");
    await expect(imported({ hookName, dtype: "bf16" })).rejects.toThrow(StateError);
    await rm(join(source, "a.safetensors"));
    await expect(imported()).rejects.toThrow(/neither a SAELens activation cache nor safetensors/);
    await expect(imported({ source: join(dir, "gone") })).rejects.toThrow(/no such file/);
  });

  it("a changed source, once the import has begun", async () => {
    await write([f32(3)]);
    await imported();
    await write([f32(3, 4, "other")]);
    await expect(imported()).rejects.toThrow(/importedFrom/);
  });

  it("a cache whose hook point is not the one asked for", async () => {
    const cache = new URL("../../test/fixtures/golden/cached_activations/dataset/", import.meta.url);
    for (const name of ["dataset_info.json", "data-00000-of-00002.arrow", "data-00001-of-00002.arrow"])
      await writeFile(join(source, name), await readFile(new URL(name, cache)));
    await expect(imported({ hookName: "blocks.3.hook_resid_post" })).rejects.toThrow(
      /blocks\.0\.hook_resid_post, not of blocks\.3/,
    );
    const info = JSON.parse(await readFile(join(source, "dataset_info.json"), "utf8")) as {
      features: Record<string, unknown>;
    };
    expect((await imported({ hookName: "model.layers.0" })).manifest.nRows).toBe(16 * 12);
    await writeJson(join(source, "dataset_info.json"), { features: { token_ids: info.features.token_ids } });
    await expect(imported()).rejects.toThrow(/no column of activations/);
  });
});
