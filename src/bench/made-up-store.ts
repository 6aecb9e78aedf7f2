/** A workload's batches as an activation store on disk, with made-up labels: documents of 300 tokens, windows of 1024. */
import type { ActivationStore } from "../activations/activations.ts";
import { allocateRows } from "../activations/rows.ts";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import type { BenchSize } from "./sizes.ts";
import type { Workload } from "./workload.ts";

export const SET = "made up";
export const HOOK_NAME = "blocks.0.hook_resid_post";
export const DOCUMENT_TOKENS = 300;
const WINDOW_TOKENS = 1024;

/** The batches in rotation, as a store on disk in bf16; `tokenIdOf`: of the row at a place, default one of 1009 in turn. */
export async function writeStore(
  dir: string,
  { batch, batchTokens }: Workload,
  { dIn }: BenchSize,
  nChunks: number,
  tokenIdOf: (row: number) => number = (row) => row % 1009,
): Promise<ActivationStore> {
  const writer = await openWriter(dir, { dtype: "bf16", dIn, hookName: HOOK_NAME, set: SET, provenance: {} });
  for (let i = 0; i < nChunks; i++) {
    const rows = { ...allocateRows(batchTokens, dIn), activations: batch(i) };
    for (let row = 0; row < batchTokens; row++) {
      const token = i * batchTokens + row;
      rows.tokenIds[row] = tokenIdOf(token);
      rows.window[row] = Math.floor(token / WINDOW_TOKENS);
      rows.position[row] = token % WINDOW_TOKENS;
      rows.document[row] = Math.floor(token / DOCUMENT_TOKENS);
    }
    await writer.writeShard(i, rows);
  }
  await writer.finish();
  return openActivationStore(dir);
}
