/** A harvest with a model made up for it: every row in its place, and the same bytes whatever happens on the way. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import type { WindowBatch, WindowSet } from "../corpus/windows.ts";
import type { ResidualModel, TokenBatch } from "../models/residual-model.ts";
import { Philox } from "../random/philox.ts";
import { type HarvestOptions, harvest } from "./harvest.ts";
import { harvestWindows } from "./harvest-windows.ts";

const D_IN = 6;
const CONTEXT = 16;
const N_WINDOWS = 47;
const LAYERS = [1, 3];
const draw = new Philox(9, "harvest test");

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** Windows of 1 to 16 tokens, about one in six tokens not kept. */
function windowsOf(from: number, to: number): WindowBatch {
  const n = to - from;
  const wide = <A extends Uint32Array | Uint8Array>(array: A, value: (at: number) => number): A => {
    for (let i = 0; i < array.length; i++) array[i] = value(from * CONTEXT + i);
    return array;
  };
  const lengths = Uint32Array.from({ length: n }, (_, i) => 1 + (draw.u32(from + i) % CONTEXT));
  const isReal = (at: number) => at % CONTEXT < lengths[Math.floor(at / CONTEXT) - from];
  return {
    first: from,
    nWindows: n,
    contextSize: CONTEXT,
    lengths,
    tokenIds: wide(new Uint32Array(n * CONTEXT), (at) => (isReal(at) ? draw.u32(1000 + at) % 500 : 0)),
    keep: wide(new Uint8Array(n * CONTEXT), (at) => (isReal(at) && draw.u32(5000 + at) % 6 > 0 ? 1 : 0)),
    role: wide(new Uint8Array(n * CONTEXT), (at) => at % 5),
    document: wide(new Uint32Array(n * CONTEXT), (at) => at * 3),
  };
}

const windows: WindowSet = {
  dir: "in memory",
  manifest: {
    format: "lapidary-windows",
    version: 1,
    set: "train",
    contextSize: CONTEXT,
    nWindows: N_WINDOWS,
    nTokens: 0,
    nKept: 0,
    packing: "document",
    bosTokenId: null,
    excludedTokenIds: [],
    tokenizerHash: "",
    chatTemplateHash: null,
    sources: [],
    files: [],
  },
  read: async (from, to) => windowsOf(from, to),
};

/** What the made-up model says at a token: entry `i` of the residual stream after `layer`. */
const residual = (layer: number, token: number, position: number, i: number) =>
  Math.fround(layer + token / 7 + position / 3 + i / 11);

/** Takes its time by turns of the event loop that differ from call to call; `onCall` may throw. */
function model(
  onCall: (call: number, batch: TokenBatch) => void = () => {},
): ResidualModel & { calls: number } {
  return {
    calls: 0,
    runSeconds: 0,
    layers: LAYERS,
    info: {
      source: "made up",
      files: [],
      modelType: null,
      dIn: D_IN,
      nLayers: 4,
      vocabSize: 500,
      contextSize: null,
      dynamicQuantization: false,
      device: "cpu",
      threads: 1,
      runtime: "none",
    },
    async run(batch) {
      const call = this.calls++;
      for (let i = 0; i < draw.u32(9000 + call) % 7; i++) await nextTurn();
      onCall(call, batch);
      return LAYERS.map((layer) =>
        Float32Array.from({ length: batch.tokenIds.length * D_IN }, (_, at) => {
          const token = Math.floor(at / D_IN);
          return residual(layer, batch.tokenIds[token], token % batch.seqLen, at % D_IN);
        }),
      );
    },
    close: async () => {},
  };
}

const byLength = { batchWindows: 2, windowsPerShard: 10, batching: "by length" } as const;

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-harvest-"));
  folders.push(folder);
  return folder;
}

async function harvestInto(folder: string, options: Partial<HarvestOptions> = {}): Promise<void> {
  const writers = await Promise.all(
    LAYERS.map((layer) =>
      openWriter(join(folder, String(layer)), {
        dtype: layer === 1 ? "bf16" : "f32",
        dIn: D_IN,
        hookName: `blocks.${layer}.hook_resid_post`,
        set: "train",
        provenance: {},
      }),
    ),
  );
  await harvest({ model: model(), windows, writers, plan: byLength, ...options });
}

/** All bytes under a folder, by file. */
async function bytesOf(folder: string): Promise<Record<string, string>> {
  const files = (await readdir(folder, { recursive: true })).filter((name) => /\.\w+$/.test(name)).sort();
  const entries = files.map(async (name) => [name, (await readFile(join(folder, name))).toString("base64")]);
  return Object.fromEntries(await Promise.all(entries)) as Record<string, string>;
}

/** What a harvest leaves that runs one batch after the other, nothing ahead. */
const expected = freshFolder().then(async (folder) => {
  await harvestInto(folder, { ahead: 0 });
  return { folder, bytes: await bytesOf(folder) };
});

describe("a harvest", () => {
  it("puts every kept token's activation beside its labels, in window order, though batches are not", async () => {
    const { folder } = await expected;
    const all = windowsOf(0, N_WINDOWS);
    const kept = Array.from(all.keep.keys()).filter((at) => all.keep[at] === 1);
    const store = await openActivationStore(join(folder, "3"));
    const rows = await store.rows(0, store.nRows);
    expect(store.manifest.shards.map(({ firstWindow }) => firstWindow)).toEqual([0, 10, 20, 30, 40]);
    expect([...rows.window]).toEqual(kept.map((at) => Math.floor(at / CONTEXT)));
    expect([...rows.position]).toEqual(kept.map((at) => at % CONTEXT));
    expect([...rows.tokenIds]).toEqual(kept.map((at) => all.tokenIds[at]));
    expect([...rows.document]).toEqual(kept.map((at) => at * 3));
    expect([...rows.role]).toEqual(kept.map((at) => at % 5));
    const activations = kept.flatMap((at) =>
      Array.from({ length: D_IN }, (_, i) => residual(3, all.tokenIds[at], at % CONTEXT, i)),
    );
    expect([...rows.activations]).toEqual(activations);
    const [, inMemory] = await harvestWindows(model(), all, 3);
    expect(inMemory).toEqual(rows);
    await store.close();
  });

  it.each([1, 2, 3, 20, 1000])("leaves the same bytes with %i batches ahead", async (depth) => {
    const folder = await freshFolder();
    await harvestInto(folder, { ahead: depth });
    expect(await bytesOf(folder)).toEqual((await expected).bytes);
  });

  it("asks the model for rectangles no larger than whole windows, and for fewer tokens than neighbours need", async () => {
    const count = async (plan: HarvestOptions["plan"]) => {
      let [tokens, largest] = [0, 0];
      const counting = model((_call, { tokenIds }) => {
        tokens += tokenIds.length;
        largest = Math.max(largest, tokenIds.length);
      });
      await harvestInto(await freshFolder(), { model: counting, plan });
      return { tokens, largest };
    };
    const mixed = await count({ batchWindows: 5, windowsPerShard: 50 });
    const alike = await count({ batchWindows: 5, windowsPerShard: 50, batching: "by length" });
    expect(alike.largest).toBeLessThanOrEqual(5 * CONTEXT);
    expect(alike.tokens).toBeLessThan(0.8 * mixed.tokens);
  });

  it("tells how far it is, from where it goes on to the end", async () => {
    const folder = await freshFolder();
    const windowsDone: number[] = [];
    await harvestInto(folder, { onProgress: (progress) => windowsDone.push(progress.windows) });
    expect([windowsDone[0], windowsDone.at(-1)]).toEqual([0, N_WINDOWS]);
    expect(windowsDone).toEqual([...windowsDone].sort((a, b) => a - b));
    const again = model();
    await harvestInto(folder, { model: again, onProgress: ({ windows: n }) => expect(n).toBe(N_WINDOWS) });
    expect(again.calls).toBe(0);
  });
});

describe("a harvest that is stopped", () => {
  it.each([0, 1, 4, 9, 14])("by the model's error at call %i, goes on to the same bytes", async (at) => {
    const folder = await freshFolder();
    const failing = model((call) => {
      if (call === at) throw new Error("out of memory");
    });
    await expect(harvestInto(folder, { model: failing })).rejects.toThrow("out of memory");
    await harvestInto(folder, { ahead: 3 });
    expect(await bytesOf(folder)).toEqual((await expected).bytes);
  });

  it.each([0, 13, 30, 41])(
    "by an abort after %i windows, goes on to the same bytes, and writes nothing meanwhile",
    async (at) => {
      const folder = await freshFolder();
      const stop = new AbortController();
      const options = {
        signal: stop.signal,
        onProgress: ({ windows: done }: { windows: number }) => {
          if (done >= at) stop.abort(new Error("enough"));
        },
      };
      await expect(harvestInto(folder, options)).rejects.toThrow("enough");
      const left = await bytesOf(folder);
      for (let i = 0; i < 20; i++) await nextTurn();
      expect(await bytesOf(folder)).toEqual(left);
      await harvestInto(folder);
      expect(await bytesOf(folder)).toEqual((await expected).bytes);
    },
  );

  it("when one layer's store is a shard ahead of another's, goes on to the same bytes", async () => {
    const folder = await freshFolder();
    await harvestInto(folder, {
      model: model((call) => {
        if (call === 9) throw new Error("stop");
      }),
    }).catch(() => {});
    const [low, high] = [await readdir(join(folder, "1")), await readdir(join(folder, "3"))];
    expect(low).toEqual(high);
    await rm(join(folder, "3"), { recursive: true });
    await harvestInto(folder);
    expect(await bytesOf(folder)).toEqual((await expected).bytes);
  });

  it("by a store that cannot be written, says so before the model has done all the work", async () => {
    const folder = await freshFolder();
    const slow = model();
    const broken = {
      manifest: { dtype: "f32", dIn: D_IN, hookName: "h", set: "train", provenance: {} },
      nextShard: 0,
      writeShard: async () => {
        await nextTurn();
        throw new Error("disk full");
      },
      finish: () => expect.unreachable(),
    } as unknown as HarvestOptions["writers"][number];
    const harvesting = harvest({ model: slow, windows, writers: [broken, broken], plan: byLength });
    await expect(harvesting).rejects.toThrow("disk full");
    expect(slow.calls).toBeLessThan(N_WINDOWS / 4);
    expect(await readdir(folder)).toEqual([]);
  });
});
