/** What the model tests share: temporary model folders, uncut graphs run as they are, comparisons. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { planFeeds } from "../../src/models/feeds.ts";
import { type ModelConfig, NO_CONFIG } from "../../src/models/model-config.ts";
import type { TokenBatch } from "../../src/models/residual-model.ts";
import { Sessions } from "../../src/models/sessions.ts";
import { Philox } from "../../src/random/philox.ts";
import type { SplitModel } from "./two-halves.ts";

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** An empty folder, removed after the file's tests. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-model-"));
  folders.push(folder);
  return folder;
}

/** Right-padded windows of the given lengths with seeded ids from [3, vocab). */
export function seededBatch(lengths: readonly number[], vocab: number): TokenBatch {
  const seqLen = Math.max(...lengths);
  const random = new Philox(11, "tokens");
  const tokenIds = new Uint32Array(lengths.length * seqLen);
  lengths.forEach((length, window) => {
    for (let i = 0; i < length; i++) {
      const at = window * seqLen + i;
      tokenIds[at] = 3 + Math.floor(random.uniform(at) * (vocab - 3));
    }
  });
  return { nWindows: lengths.length, seqLen, tokenIds, lengths: Uint32Array.from(lengths) };
}

let shared: Promise<Sessions> | null = null;
afterAll(async () => (await shared)?.close());

/** One thread with ONNX Runtime for all graphs that a test file runs as they are. */
export function testSessions(): Promise<Sessions> {
  shared ??= Sessions.open({ threads: 2 });
  return shared;
}

/** Runs graphs in order, as they are, and gives the named outputs. */
export async function runGraphs(
  graphs: readonly { bytes: Uint8Array<ArrayBuffer>; folder?: string }[],
  batch: TokenBatch,
  wanted: readonly string[],
  config: ModelConfig = NO_CONFIG,
): Promise<Float32Array[]> {
  const sessions = await testSessions();
  const loaded = [];
  for (const { bytes, folder } of graphs)
    loaded.push(await sessions.load(bytes.slice(), folder ?? tmpdir(), "a test graph"));
  const values = await sessions.run(loaded, planFeeds(loaded, config)(batch), wanted);
  return wanted.map((name) => values[name].data as Float32Array);
}

/** Runs both halves of a split model. */
export async function runSplit(
  split: SplitModel,
  batch: TokenBatch,
  config: ModelConfig = NO_CONFIG,
): Promise<Float32Array> {
  const sessions = await testSessions();
  const lower = await sessions.load(split.lower, tmpdir(), "a lower half");
  const types = new Map(lower.outputs.map((output) => [output.name, output.type]));
  const upper = await sessions.load(split.upper(types), tmpdir(), "an upper half");
  const values = await sessions.run([lower, upper], planFeeds([lower, upper], config)(batch), ["logits"]);
  return values["logits"].data as Float32Array;
}

/** ‖a − b‖ / ‖b‖ over the real positions of a batch, rows of `width`. */
export function relativeL2(a: Float32Array, b: Float32Array, batch: TokenBatch, width: number): number {
  let error = 0;
  let norm = 0;
  for (const at of realPositions(batch))
    for (let i = at * width; i < (at + 1) * width; i++) {
      error += (a[i] - b[i]) ** 2;
      norm += b[i] ** 2;
    }
  return Math.sqrt(error / norm);
}

/** Rows that are no padding. */
export function realPositions(batch: TokenBatch): number[] {
  return Array.from({ length: batch.nWindows * batch.seqLen }, (_, i) => i).filter(
    (i) => i % batch.seqLen < batch.lengths[Math.floor(i / batch.seqLen)],
  );
}
