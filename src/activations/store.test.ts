/** A store written and read back: exact rows, resume at a shard, damage named by file, refusals that say what to do. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataError, FormatError, ShapeError, StateError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import { writeJson } from "../storage/atomic.ts";
import { bf16ToF32, f32ToBf16 } from "../tensor/half.ts";
import type { ActivationRows, StoreIdentity } from "./activations.ts";
import { readManifest } from "./manifest.ts";
import { activationBytes, readerBytes, rowsPerShard, storeBytes } from "./plan.ts";
import { openActivationStore } from "./store.ts";
import { openWriter } from "./writer.ts";

const D_IN = 6;
const identity: StoreIdentity = {
  dtype: "f32",
  dIn: D_IN,
  hookName: "blocks.4.hook_resid_post",
  set: "train",
  provenance: { corpus: "abc", windowsPerShard: 3 },
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-store-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** nRows rows whose numbers follow from `first`, the index of the first row in the store. */
function makeRows(first: number, nRows: number): ActivationRows {
  const noise = new Philox(1, "rows");
  const label = (offset: number) => Uint32Array.from({ length: nRows }, (_, i) => first + i + offset);
  return {
    nRows,
    activations: Float32Array.from({ length: nRows * D_IN }, (_, i) => noise.normal(first * D_IN + i)),
    tokenIds: label(1000),
    window: label(2000),
    position: label(3000),
    document: label(4_000_000_000 - 4096),
    role: Uint8Array.from({ length: nRows }, (_, i) => (first + i) % 6),
  };
}

/** Shards of 5, 0, 7 and 3 rows. */
async function writeStore(id: StoreIdentity = identity): Promise<void> {
  const writer = await openWriter(dir, id);
  let first = 0;
  for (const [index, nRows] of [5, 0, 7, 3].entries()) {
    await writer.writeShard(index, makeRows(first, nRows), { firstWindow: index * 3, nWindows: 3 });
    first += nRows;
  }
  await writer.finish();
}

describe("a finished store", () => {
  it.each(["bf16", "f32"] as const)(
    "a stream may use its arrays again: %s, the same rows in less memory",
    async (dtype) => {
      const dir = await mkdtemp(join(tmpdir(), "lapidary-reuse-"));
      const writer = await openWriter(dir, { dtype, dIn: 5, hookName: "h", set: "s", provenance: {} });
      const numbers = (n: number, from: number) => Uint32Array.from({ length: n }, (_, i) => from + i);
      for (const [shard, n] of [7, 6, 9].entries())
        await writer.writeShard(shard, {
          nRows: n,
          activations: Float32Array.from({ length: n * 5 }, (_, i) => shard * 100 + i - 11),
          tokenIds: numbers(n, shard * 10),
          window: numbers(n, 1),
          position: numbers(n, 2),
          document: numbers(n, 3),
          role: new Uint8Array(n).fill(shard),
        });
      await writer.finish();
      const store = await openActivationStore(dir);
      const seen = new Set<ArrayBufferLike>();
      let at = 0;
      for await (const chunk of store.stream(4, 22, { reuse: 2 })) {
        expect(chunk).toEqual(await store.rows(at, at + chunk.nRows));
        at += chunk.nRows;
        seen.add(chunk.activations.buffer);
      }
      expect([at, seen.size]).toEqual([22, 3]); // two in turn, and the last, which is shorter
      await store.close();
    },
  );

  it("gives back every row exactly, across shard borders", async () => {
    await writeStore();
    const store = await openActivationStore(dir);
    expect([store.nRows, store.dIn]).toEqual([15, D_IN]);
    expect(await store.rows(0, 15)).toEqual(makeRows(0, 15));
    expect(await store.rows(3, 13)).toEqual(makeRows(3, 10));
    expect(await store.rows(4, 4)).toEqual(makeRows(4, 0));
    await expect(store.rows(10, 16)).rejects.toThrow(ShapeError);
    const sizes: number[] = [];
    for await (const chunk of store.stream(4, 10)) {
      expect(chunk).toEqual(
        makeRows(
          sizes.reduce((a, b) => a + b, 0),
          chunk.nRows,
        ),
      );
      sizes.push(chunk.nRows);
    }
    expect(sizes).toEqual([4, 4, 2]);
    await store.close();
    await expect(store.rows(0, 1)).rejects.toThrow(StateError);
  });

  it("keeps bf16 to its nearest number and serves it in batches", async () => {
    await writeStore({ ...identity, dtype: "bf16" });
    const store = await openActivationStore(dir);
    const rounded = bf16ToF32(f32ToBf16(makeRows(0, 15).activations));
    expect((await store.rows(0, 15)).activations).toEqual(rounded);
    const reader = store.batches({ batchTokens: 15, seed: 3 });
    const batch = await reader.batch(0, 0);
    const asRows = (flat: Float32Array) =>
      Array.from({ length: 15 }, (_, i) => String(flat.subarray(i * D_IN, (i + 1) * D_IN)));
    expect(asRows(batch)).not.toEqual(asRows(rounded));
    expect(asRows(batch).sort()).toEqual(asRows(rounded).sort());
    await store.close();
  });

  it("records windows and takes the room that was planned", async () => {
    await writeStore();
    const { shards, complete } = await readManifest(dir);
    expect(complete).toBe(true);
    expect(shards[2]).toMatchObject({ nRows: 7, firstWindow: 6, nWindows: 3, nNonFinite: 0 });
    const bytes = shards.reduce((n, shard) => n + shard.bytes, 0);
    const planned = storeBytes({ nRows: 15, dIn: D_IN, dtype: "f32" });
    expect(bytes).toBeGreaterThan(planned);
    expect(bytes - planned).toBeLessThan(4 * 1024); // headers
  });
});

describe("damage", () => {
  it("names the file of a flipped byte, in rows and in batches", async () => {
    await writeStore();
    const path = join(dir, "shard-00002.safetensors");
    const bytes = await readFile(path);
    bytes[bytes.length - 200] ^= 0x10;
    await writeFile(path, bytes);
    const store = await openActivationStore(dir);
    expect((await store.rows(0, 5)).nRows).toBe(5); // the first shard is whole
    await expect(store.rows(4, 6)).rejects.toThrow(/shard-00002\.safetensors.*hash/);
    await expect(store.rows(4, 6)).rejects.toThrow(FormatError);
    await expect(store.batches({ batchTokens: 4, seed: 0 }).batch(0, 0)).rejects.toThrow(/shard-00002/);
    await store.close();
  });

  it("names a file cut short or gone", async () => {
    await writeStore();
    await truncate(join(dir, "shard-00003.safetensors"), 50);
    await rm(join(dir, "shard-00000.safetensors"));
    const store = await openActivationStore(dir);
    await expect(store.rows(14, 15)).rejects.toThrow(/shard-00003\.safetensors: 50 bytes/);
    await expect(store.rows(0, 1)).rejects.toThrow(/shard-00000\.safetensors: no such file/);
    await expect(openWriter(dir, identity)).rejects.toThrow(/shard-00000.*is missing/);
  });

  it.each([
    ["a path that leaves the folder", { shards: [{ name: "../x.safetensors" }] }, /shards\.0\.name/],
    ["an unknown dtype", { dtype: "int4" }, /dtype/],
    ["a width beyond the cap", { dIn: 2 ** 40 }, /dIn/],
    ["rows that do not add up", { nRows: 16 }, /add up to 15/],
    ["an unknown key", { compressed: true }, /compressed/],
  ])("refuses a manifest with %s", async (_what, change, message) => {
    await writeStore();
    const manifest = JSON.parse(await readFile(join(dir, "manifest.json"), "utf8")) as {
      shards: object[];
    };
    const patched = { ...manifest, ...change };
    if ("shards" in change)
      patched.shards = manifest.shards.map((shard, i) => ({ ...shard, ...change.shards?.[i] }));
    await writeJson(join(dir, "manifest.json"), patched);
    await expect(openActivationStore(dir)).rejects.toThrow(message);
  });
});

describe("a stopped writer", () => {
  it("goes on after the last whole shard and sweeps what no manifest names", async () => {
    await writeStore();
    const undisturbed = await readFile(join(dir, "manifest.json"), "utf8");
    await rm(dir, { recursive: true });

    const first = await openWriter(dir, identity);
    await first.writeShard(0, makeRows(0, 5), { firstWindow: 0, nWindows: 3 });
    await first.writeShard(1, makeRows(5, 0), { firstWindow: 3, nWindows: 3 });
    await writeFile(join(dir, "shard-00002.safetensors"), "whole, but not yet named");
    await writeFile(join(dir, "shard-00003.safetensors.12-1.tmp"), "half-written");
    await writeFile(join(dir, "notes.txt"), "the user's own");
    await expect(openActivationStore(dir)).rejects.toThrow(StateError);
    expect((await openActivationStore(dir, { allowIncomplete: true })).nRows).toBe(5);

    const second = await openWriter(dir, { ...identity, provenance: { windowsPerShard: 3, corpus: "abc" } });
    expect(await readdir(dir)).toEqual([
      "manifest.json",
      "notes.txt",
      "shard-00000.safetensors",
      "shard-00001.safetensors",
    ]);
    expect([second.nextShard, second.complete]).toEqual([2, false]);
    await expect(second.writeShard(3, makeRows(0, 1))).rejects.toThrow(StateError);
    await second.writeShard(2, makeRows(5, 7), { firstWindow: 6, nWindows: 3 });
    await second.writeShard(3, makeRows(12, 3), { firstWindow: 9, nWindows: 3 });
    await second.finish();
    expect(await readFile(join(dir, "manifest.json"), "utf8")).toBe(undisturbed);

    const third = await openWriter(dir, identity);
    expect(third.complete).toBe(true);
    expect(await third.finish()).toEqual(JSON.parse(undisturbed));
    await expect(third.writeShard(4, makeRows(0, 1))).rejects.toThrow(/complete/);
  });

  it("refuses another identity and says what differs", async () => {
    await writeStore();
    const other = { ...identity, set: "heldout", provenance: { corpus: "abc", windowsPerShard: 4 } };
    const opening = openWriter(dir, other);
    await expect(opening).rejects.toThrow(StateError);
    await expect(opening).rejects.toThrow(/provenance\.windowsPerShard 3 → 4; set "train" → "heldout"/);
  });

  it("refuses a folder that holds other things, and leaves them alone", async () => {
    await writeFile(join(dir, "thesis.txt"), "precious");
    await writeFile(join(dir, "shard-00000.safetensors"), "another store's");
    await expect(openWriter(dir, identity)).rejects.toThrow(/thesis\.txt/);
    expect(await readdir(dir)).toEqual(["shard-00000.safetensors", "thesis.txt"]);
  });
});

describe("rows that are not finite", () => {
  const spoiled = (nRows: number, bad: Record<number, number>) => {
    const rows = makeRows(0, nRows);
    for (const [row, value] of Object.entries(bad)) rows.activations[Number(row) * D_IN + 2] = value;
    return rows;
  };

  it("are left out, labels and all, and counted; too many fail the store", async () => {
    const writer = await openWriter(dir, identity, { maxNonFiniteShare: 0.25 });
    await writer.writeShard(0, spoiled(8, { 2: Number.NaN, 5: Number.NEGATIVE_INFINITY }));
    expect(writer.manifest).toMatchObject({ nRows: 6, nNonFinite: 2 });
    await writer.writeShard(1, makeRows(8, 0));
    await writer.finish();
    const store = await openActivationStore(dir);
    expect([...(await store.rows(0, 6)).tokenIds]).toEqual([1000, 1001, 1003, 1004, 1006, 1007]);
    expect((await store.rows(2, 3)).activations).toEqual(makeRows(3, 1).activations);
  });

  it("fail the store above the threshold", async () => {
    const writer = await openWriter(dir, identity);
    await writer.writeShard(0, spoiled(8, { 2: Number.NaN }));
    const finishing = writer.finish();
    await expect(finishing).rejects.toThrow(DataError);
    await expect(finishing).rejects.toThrow(/1 of 8/);
    expect((await readManifest(dir)).complete).toBe(false);
  });

  it("include, in bf16, what would round to infinity", async () => {
    const [largest, overflowing] = [3.3895313892515355e38, 3.4e38];
    const writer = await openWriter(dir, { ...identity, dtype: "bf16" }, { maxNonFiniteShare: 1 });
    await writer.writeShard(0, spoiled(4, { 0: largest, 1: overflowing, 2: -overflowing }));
    await writer.finish();
    const store = await openActivationStore(dir);
    expect(store.manifest).toMatchObject({ nRows: 2, nNonFinite: 2 });
    expect((await store.rows(0, 1)).activations[2]).toBe(Math.fround(largest));
  });
});

it("refuses arrays whose lengths do not fit", async () => {
  const writer = await openWriter(dir, identity);
  const rows = makeRows(0, 3);
  await expect(writer.writeShard(0, { ...rows, role: new Uint8Array(2) })).rejects.toThrow(ShapeError);
  await expect(writer.writeShard(0, { ...rows, nRows: 4 })).rejects.toThrow(ShapeError);
});

it("plans the reference recipe: 43 GB a layer in bf16", () => {
  const store = { nRows: 8_400_000, dIn: 2560, dtype: "bf16" } as const;
  expect(activationBytes(2560, "bf16")).toBe(5120);
  expect(storeBytes(store)).toBe(8_400_000 * (5120 + 17));
  expect(rowsPerShard(2560, "bf16")).toBe(26127);
  expect(readerBytes({ ...store, batchTokens: 4096 })).toBe(3 * 128 * 2 ** 20 + 2 * 4096 * 2560 * 4);
});
