/**
 * Windows through the lower half of a model, activations of the kept tokens into stores, all wanted layers in one pass.
 * Batches and shards are functions of the window index alone, so a harvest stopped at any byte goes on with the first
 * window that is not yet in a whole shard, and ends with the same bytes.
 */
import type { ActivationRows } from "../activations/activations.ts";
import type { ActivationWriter } from "../activations/writer.ts";
import type { WindowBatch, WindowSet } from "../corpus/windows.ts";
import type { ResidualModel, TokenBatch } from "../models/residual-model.ts";

/** How a harvest cuts its work; part of a store's identity, since a batch may influence last bits. */
export interface HarvestPlan {
  /** windows run together; 1 when the graph quantises activations by batch */
  readonly batchWindows: number;
  /** windows whose kept rows make one shard of each store; a multiple of batchWindows */
  readonly windowsPerShard: number;
}

/** A shard's rows stay below this many bytes of f32, so that memory is bounded whatever the model's width. */
const SHARD_BYTES = 128 * 1024 * 1024;
/** Tokens a batch aims at: enough to keep two to sixteen cores busy, small enough for the attention of long contexts. */
const BATCH_TOKENS = 2048;

/** Windows a batch and a shard, from the sizes alone: about 2048 tokens a batch, 128 MiB of f32 a shard of all layers. */
export function planHarvest(options: {
  contextSize: number;
  dIn: number;
  nLayers: number;
  oneByOne: boolean;
}): HarvestPlan {
  const { contextSize, dIn, nLayers, oneByOne } = options;
  const batchWindows = oneByOne ? 1 : Math.max(1, Math.floor(BATCH_TOKENS / contextSize));
  const rowsPerShard = SHARD_BYTES / (4 * dIn * nLayers);
  const batches = Math.max(1, Math.floor(rowsPerShard / (batchWindows * contextSize)));
  return { batchWindows, windowsPerShard: batches * batchWindows };
}

/** How far a harvest is, in windows and in tokens (padding included). */
export interface HarvestProgress {
  readonly windows: number;
  readonly totalWindows: number;
  readonly tokens: number;
}

/** What a harvest runs, and where the activations go. */
export interface HarvestOptions {
  readonly model: ResidualModel;
  readonly windows: WindowSet;
  /** one open writer a layer, in the order of `model.layers` */
  readonly writers: readonly ActivationWriter[];
  readonly plan: HarvestPlan;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: HarvestProgress) => void;
}

/**
 * Runs every window and finishes the stores. Kept rows only: `keep` of the window set decides.
 * @throws {DataError} too many activations are not finite   @throws the signal's reason when aborted
 */
export async function harvest(options: HarvestOptions): Promise<void> {
  const { model, windows, writers, plan, signal, onProgress } = options;
  const { nWindows } = windows.manifest;
  const nShards = Math.ceil(nWindows / plan.windowsPerShard);
  for (let shard = Math.min(...writers.map((writer) => writer.nextShard)); shard < nShards; shard++) {
    const from = shard * plan.windowsPerShard;
    const to = Math.min(from + plan.windowsPerShard, nWindows);
    const rows = await harvestWindows(model, await windows.read(from, to), plan.batchWindows, (done) => {
      signal?.throwIfAborted();
      onProgress?.({
        windows: from + done,
        totalWindows: nWindows,
        tokens: (from + done) * windows.manifest.contextSize,
      });
    });
    for (const [i, writer] of writers.entries()) {
      if (writer.nextShard === shard)
        await writer.writeShard(shard, rows[i], { firstWindow: from, nWindows: to - from });
    }
  }
  for (const writer of writers) await writer.finish();
}

/** Rows of the kept positions of some windows, one set a layer, computed `batchWindows` windows at a time. */
export async function harvestWindows(
  model: ResidualModel,
  windows: WindowBatch,
  batchWindows: number,
  onBatch: (windowsDone: number) => void = () => {},
): Promise<ActivationRows[]> {
  const nRows = windows.keep.reduce((sum, keep) => sum + keep, 0);
  const index = keptIndex(windows, nRows);
  const activations = model.layers.map(() => new Float32Array(nRows * model.info.dIn));
  let row = 0;
  for (let first = 0; first < windows.nWindows; first += batchWindows) {
    onBatch(first);
    const batch = tokenBatch(windows, first, Math.min(batchWindows, windows.nWindows - first));
    const residuals = await model.run(batch);
    row = copyKept(windows, first, batch, residuals, activations, row, model.info.dIn);
  }
  onBatch(windows.nWindows);
  return activations.map((layer) => ({ ...index, activations: layer }));
}

/** Windows [first, first + n) as a rectangle just long enough for the longest of them. */
function tokenBatch(windows: WindowBatch, first: number, n: number): TokenBatch {
  const lengths = windows.lengths.slice(first, first + n);
  const seqLen = Math.max(2, ...lengths);
  const tokenIds = new Uint32Array(n * seqLen);
  for (let w = 0; w < n; w++) {
    const start = (first + w) * windows.contextSize;
    tokenIds.set(windows.tokenIds.subarray(start, start + Math.min(seqLen, windows.contextSize)), w * seqLen);
  }
  return { nWindows: n, seqLen, tokenIds, lengths };
}

/** Copies kept positions of each layer's residual [n, seqLen, dIn] to `into` from row `row` on; returns the next row. */
function copyKept(
  windows: WindowBatch,
  first: number,
  batch: TokenBatch,
  residuals: readonly Float32Array[],
  into: readonly Float32Array[],
  row: number,
  dIn: number,
): number {
  for (let w = 0; w < batch.nWindows; w++) {
    for (let p = 0; p < batch.lengths[w]; p++) {
      if (windows.keep[(first + w) * windows.contextSize + p] === 0) continue;
      const start = (w * batch.seqLen + p) * dIn;
      for (const [i, residual] of residuals.entries())
        into[i].set(residual.subarray(start, start + dIn), row * dIn);
      row += 1;
    }
  }
  return row;
}

/** Token id, window, position, document and role of every kept position, in window order. */
function keptIndex(windows: WindowBatch, nRows: number): Omit<ActivationRows, "activations"> {
  const index = {
    nRows,
    tokenIds: new Uint32Array(nRows),
    window: new Uint32Array(nRows),
    position: new Uint32Array(nRows),
    document: new Uint32Array(nRows),
    role: new Uint8Array(nRows),
  };
  let row = 0;
  for (let at = 0; at < windows.keep.length; at++) {
    if (windows.keep[at] === 0) continue;
    index.tokenIds[row] = windows.tokenIds[at];
    index.window[row] = windows.first + Math.floor(at / windows.contextSize);
    index.position[row] = at % windows.contextSize;
    index.document[row] = windows.document[at];
    index.role[row] = windows.role[at];
    row += 1;
  }
  return index;
}
