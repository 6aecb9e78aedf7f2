/** tiny-gemma's residual streams as Hugging Face transformers computed them (test/fixtures/tiny-gemma). */
import { openSafetensors } from "../../src/formats/safetensors.ts";
import type { TokenBatch } from "../../src/models/residual-model.ts";

/** The reference's six right-padded sequences and, by layer, the residual stream [6 · 96, 256] after it. */
export async function readReference(
  model: "base" | "it",
): Promise<{ batch: TokenBatch; residuals: Record<number, Float32Array> }> {
  const file = await openSafetensors("test/fixtures/tiny-gemma/reference.safetensors");
  const ids = (await file.read("input_ids")) as BigInt64Array;
  const mask = (await file.read("attention_mask")) as BigInt64Array;
  const [nWindows, seqLen] = file.tensors.get("input_ids")?.shape ?? [];
  const lengths = new Uint32Array(nWindows);
  mask.forEach((real, i) => {
    lengths[Math.floor(i / seqLen)] += Number(real);
  });
  const residuals: Record<number, Float32Array> = {};
  for (const layer of [2, 4, 6]) residuals[layer] = await file.readF32(`${model}.layers.${layer}.output`);
  await file.close();
  return { batch: { nWindows, seqLen, tokenIds: Uint32Array.from(ids, Number), lengths }, residuals };
}

/** Window `w` of a batch alone, without its padding. */
export function windowOf(batch: TokenBatch, w: number): TokenBatch {
  const seqLen = batch.lengths[w];
  const start = w * batch.seqLen;
  return {
    nWindows: 1,
    seqLen,
    tokenIds: batch.tokenIds.slice(start, start + seqLen),
    lengths: Uint32Array.of(seqLen),
  };
}
