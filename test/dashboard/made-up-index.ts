/** A small SAE on made-up activations in windows of a made-up text, for tests of the latent index. */
import type { WindowBatch } from "../../src/corpus/windows.ts";
import type { BuildOptions } from "../../src/dashboard/build.ts";
import type { IndexBudget } from "../../src/dashboard/index-plan.ts";
import type { IndexedSet } from "../../src/dashboard/tokens/indexed-set.ts";
import { rowsSource } from "../../src/evals/token-source.ts";
import { selectEngine } from "../../src/kernels/select.ts";
import { Philox } from "../../src/random/philox.ts";
import { plainConfig } from "../../src/sae/dialects/config.ts";
import type { Sae } from "../../src/sae/sae.ts";

export const HOOK = "blocks.0.hook_resid_post";
export const createEngine = (await selectEngine("auto")).create;

/** A budget that everything fits in. */
export const AMPLE: IndexBudget = {
  entries: { residentBytes: 1e9, segmentEntries: 1e6 },
  blockEntries: 1e6,
  sumsBytes: 1e9,
  databaseBytes: 256 * 2 ** 20,
  partValues: 1e9,
};

/** A jumprelu SAE of random rows; every seventh latent never fires. */
export function madeUpSae(dIn: number, dSae: number, seed = 0): Sae {
  const random = new Philox(seed, "made-up-index/sae");
  const numbers = (n: number, from: number, scale: number) =>
    Float32Array.from({ length: n }, (_, i) => scale * random.normal(from + i));
  const wDec = numbers(dSae * dIn, 0, 1);
  const noise = numbers(dSae * dIn, dSae * dIn, 0.3);
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
      hookName: HOOK,
    }),
    weights: {
      dIn,
      dSae,
      wDec,
      wEnc: wDec.map((value, i) => value / dIn + noise[i] / dIn),
      bEnc: Float32Array.from({ length: dSae }, (_, i) => (i % 7 === 3 ? -1e4 : -0.05 * (i % 5))),
      bDec: numbers(dIn, 2 * dSae * dIn, 0.1),
    },
    threshold: Float32Array.from({ length: dSae }, (_, i) => 0.2 + 0.01 * (i % 11)),
    runnerConfig: null,
  };
}

export interface MadeUp {
  readonly set: IndexedSet;
  readonly windows: WindowBatch;
  readonly activations: Float32Array;
  readonly labels: {
    readonly tokenIds: Uint32Array;
    readonly window: Uint32Array;
    readonly position: Uint32Array;
    readonly document: Uint32Array;
    readonly role: Uint8Array;
  };
}

/** Windows of different lengths, documents of about 17 tokens, tokens that are not kept; `chunkRows` a chunk. */
export function madeUpTokens(
  dIn: number,
  { nWindows = 12, contextSize = 40, chunkRows = 64, seed = 0 } = {},
): MadeUp {
  const random = new Philox(seed, "made-up-index/tokens");
  const n = nWindows * contextSize;
  const windows: WindowBatch = {
    first: 0,
    nWindows,
    contextSize,
    tokenIds: Uint32Array.from({ length: n }, (_, i) => 3 + (random.u32(i) % 50)),
    lengths: Uint32Array.from({ length: nWindows }, (_, w) => (w % 3 === 1 ? contextSize - 11 : contextSize)),
    keep: new Uint8Array(n),
    role: Uint8Array.from({ length: n }, (_, i) =>
      Math.floor(i / contextSize) % 4 === 2 ? 1 + ((i >> 3) % 2) : 0,
    ),
    document: Uint32Array.from(
      { length: n },
      (_, i) => 2 * Math.floor(i / 17) + (Math.floor(i / 17) % 3 === 0 ? 1 : 0),
    ),
  };
  const places: number[] = [];
  for (let i = 0; i < n; i++) {
    const position = i % contextSize;
    const isReal = position < windows.lengths[Math.floor(i / contextSize)];
    windows.keep[i] = isReal && position > 0 && random.u32(n + i) % 9 !== 0 ? 1 : 0;
    if (windows.keep[i] === 1) places.push(i);
  }
  const pick = (of: ArrayLike<number>) => Uint32Array.from(places, (i) => of[i]);
  const labels = {
    tokenIds: pick(windows.tokenIds),
    window: Uint32Array.from(places, (i) => Math.floor(i / contextSize)),
    position: Uint32Array.from(places, (i) => i % contextSize),
    document: pick(windows.document),
    role: Uint8Array.from(places, (i) => windows.role[i]),
  };
  const activations = Float32Array.from({ length: places.length * dIn }, (_, i) => random.normal(n + i));
  return {
    windows,
    activations,
    labels,
    set: {
      tokens: rowsSource({ activations, dIn, set: "made up", hookName: HOOK, ...labels }, { chunkRows }),
      windows: { read: async (from, to) => windowsOf(windows, from, to) },
      sourceOf: (document) => (document % 2 === 0 ? "even" : "odd"),
    },
  };
}

function windowsOf(all: WindowBatch, from: number, to: number): WindowBatch {
  const { contextSize } = all;
  const cut = <T extends Uint8Array | Uint32Array>(array: T) =>
    array.slice(from * contextSize, to * contextSize) as T;
  return {
    ...all,
    first: from,
    nWindows: to - from,
    tokenIds: cut(all.tokenIds),
    lengths: all.lengths.slice(from, to),
    keep: cut(all.keep),
    role: cut(all.role),
    document: cut(all.document),
  };
}

export function madeUpOptions(dir: string, sae: Sae, { set }: MadeUp): BuildOptions {
  return {
    dir,
    sae,
    saeName: "made up",
    modelName: null,
    sets: [set],
    dataHash: "0".repeat(64),
    textOf: (id) => ` t${id}`,
    base: null,
    training: null,
    lens: null,
    openLabeller: null,
    examples: { topExamples: 6, examplesPerInterval: 2, tokensBefore: 8, tokensAfter: 7, seed: 5 },
    budget: AMPLE,
    software: {},
    createEngine,
  };
}
