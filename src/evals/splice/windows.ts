/** Which windows a splice evaluation runs, and in which batches: functions of the windows and of sizes alone. */
import { createHash } from "node:crypto";
import type { WindowBatch, WindowSet } from "../../corpus/windows.ts";
import { DataError } from "../../errors.ts";
import type { TokenBatch } from "../../models/residual-model.ts";
import type { ScoredTokens, SplicedModel } from "../../models/spliced-model.ts";
import { hashValue } from "../../storage/hash.ts";
import { canonicalJson } from "../../storage/json.ts";
import { bytesOf } from "../../tensor/typed-array.ts";

/** The windows of a set, or of a text. */
export interface SpliceWindows {
  readonly set: string;
  /** identity of the windows */
  readonly hash: string;
  readonly nWindows: number;
  read(from: number, to: number): Promise<WindowBatch>;
}

/** A set on disk, under the hash of its manifest. */
export function spliceWindows(windows: WindowSet): SpliceWindows {
  const { manifest } = windows;
  return {
    set: manifest.set,
    hash: hashValue(manifest),
    nWindows: manifest.nWindows,
    read: (from, to) => windows.read(from, to),
  };
}

/** Windows in memory, such as those of a text. */
export function windowsInMemory(set: string, windows: WindowBatch): SpliceWindows {
  const { contextSize, nWindows } = windows;
  const hash = createHash("sha256").update(canonicalJson({ contextSize, nWindows }));
  for (const array of [windows.tokenIds, windows.lengths, windows.keep, windows.document])
    hash.update(bytesOf(array));
  return {
    set,
    hash: hash.digest("hex"),
    nWindows,
    async read(from, to) {
      const rows = <T extends Uint8Array | Uint32Array>(array: T) =>
        array.slice(from * contextSize, to * contextSize) as T;
      return {
        first: windows.first + from,
        nWindows: to - from,
        contextSize,
        tokenIds: rows(windows.tokenIds),
        lengths: windows.lengths.slice(from, to),
        keep: rows(windows.keep),
        role: rows(windows.role),
        document: rows(windows.document),
      };
    },
  };
}

/** Windows that run together. */
export interface SpliceBatch {
  readonly tokens: TokenBatch;
  /** kept positions, in order, and what comes after each */
  readonly kept: ScoredTokens;
  /** of each kept position */
  readonly document: Uint32Array;
  readonly window: Uint32Array;
  readonly position: Uint32Array;
}

/** Windows read at a time while they are counted. */
const READ_WINDOWS = 64;
/** Tokens a batch aims at, as harvests do. */
const BATCH_TOKENS = 2048;

/**
 * The first windows of a set, up to the one with which at least `tokens` positions are kept; all, if there are fewer.
 * @throws {DataError} none is kept, or none asked for
 */
export async function firstWindows(windows: SpliceWindows, tokens: number): Promise<WindowBatch> {
  if (!(tokens >= 1)) throw new DataError(`tokens to splice at: got ${tokens}, expected 1 or more`);
  let nKept = 0;
  let taken = 0;
  for (let from = 0; from < windows.nWindows && nKept < tokens; from += READ_WINDOWS) {
    const block = await windows.read(from, Math.min(from + READ_WINDOWS, windows.nWindows));
    for (let window = 0; window < block.nWindows && nKept < tokens; window++) {
      nKept += keptPositions(block, window).length;
      taken += 1;
    }
  }
  if (nKept === 0) throw new DataError(`set "${windows.set}" keeps no tokens to splice at`);
  return windows.read(0, taken);
}

/** Windows a batch: about 2048 tokens, fewer where logits would not fit, one where activations are quantised by batch. */
export function windowsPerBatch(model: SplicedModel, contextSize: number): number {
  const tokens = Math.min(BATCH_TOKENS, model.unembedding.maxBatchTokens ?? BATCH_TOKENS);
  return model.info.dynamicQuantization ? 1 : Math.max(1, Math.floor(tokens / contextSize));
}

/** Neighbouring windows, `size` a batch, as wide as the longest of them; batches of which nothing is kept are left out. */
export function* spliceBatches(windows: WindowBatch, size: number): Generator<SpliceBatch> {
  for (let from = 0; from < windows.nWindows; from += size) {
    const batch = spliceBatch(windows, from, Math.min(from + size, windows.nWindows));
    if (batch.kept.rows.length > 0) yield batch;
  }
}

function spliceBatch(windows: WindowBatch, from: number, to: number): SpliceBatch {
  const { contextSize } = windows;
  const lengths = windows.lengths.slice(from, to);
  const seqLen = Math.max(2, ...lengths); // exporters bake in that there are at least two
  const tokenIds = new Uint32Array(lengths.length * seqLen);
  const rows: number[] = [];
  const next: number[] = [];
  const document: number[] = [];
  const window: number[] = [];
  const position: number[] = [];
  for (let i = 0; i < lengths.length; i++) {
    const start = (from + i) * contextSize;
    tokenIds.set(windows.tokenIds.subarray(start, start + Math.min(seqLen, contextSize)), i * seqLen);
    for (const at of keptPositions(windows, from + i)) {
      rows.push(i * seqLen + at);
      next.push(at + 1 < lengths[i] ? windows.tokenIds[start + at + 1] : -1);
      document.push(windows.document[start + at]);
      window.push(windows.first + from + i);
      position.push(at);
    }
  }
  return {
    tokens: { nWindows: lengths.length, seqLen, tokenIds, lengths },
    kept: { rows: Uint32Array.from(rows), next: Int32Array.from(next) },
    document: Uint32Array.from(document),
    window: Uint32Array.from(window),
    position: Uint32Array.from(position),
  };
}

/** Real positions of a window that are kept. */
function keptPositions({ contextSize, keep, lengths }: WindowBatch, window: number): number[] {
  const start = window * contextSize;
  return Array.from({ length: lengths[window] }, (_, at) => at).filter((at) => keep[start + at] === 1);
}
