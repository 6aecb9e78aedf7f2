import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { readModelConfig } from "./model-config.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-config-"));
});
afterAll(() => rm(dir, { recursive: true }));
async function read(json: unknown, name = "config.json") {
  await writeFile(join(dir, name), JSON.stringify(json));
  return readModelConfig(join(dir, name));
}

it("reads the text part of a multimodal model, with a head size by layer type", async () => {
  const text_config = {
    num_hidden_layers: 3,
    hidden_size: 96,
    vocab_size: 99,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    num_global_key_value_heads: 1,
    head_dim: 32,
    global_head_dim: 64,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
    max_position_embeddings: 512,
  };
  const expected = { modelType: "gemma4", nLayers: 3, dIn: 96, vocabSize: 99, contextSize: 512 };
  expect(await read({ model_type: "gemma4", text_config })).toEqual({
    ...expected,
    keyValueHeads: [
      [2, 32],
      [2, 64],
      [2, 32],
    ],
  });
  // Only models whose full-attention layers share keys and values have another number of heads there.
  const shared = await read({
    model_type: "gemma4",
    text_config: { ...text_config, attention_k_eq_v: true },
  });
  expect(shared.keyValueHeads).toEqual([
    [2, 32],
    [1, 64],
    [2, 32],
  ]);
});

it("knows GPT-2's names, and derives the head size", async () => {
  expect(
    await read({ model_type: "gpt2", n_layer: 2, n_embd: 48, n_head: 3, vocab_size: 10, n_ctx: 64 }),
  ).toEqual({
    modelType: "gpt2",
    nLayers: 2,
    dIn: 48,
    vocabSize: 10,
    contextSize: 64,
    keyValueHeads: [
      [3, 16],
      [3, 16],
    ],
  });
});

it("refuses sizes that are none", async () => {
  await expect(read({ num_hidden_layers: -1 })).rejects.toThrow(FormatError);
  await expect(read({ num_hidden_layers: 1e9 })).rejects.toThrow(/num_hidden_layers is 1000000000/);
  await expect(read({ hidden_size: "768" })).rejects.toThrow(/hidden_size is "768"/);
  await expect(read([1])).rejects.toThrow(/not a JSON object/);
});
