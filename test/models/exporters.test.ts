/** The residual stream is found and tapped in graphs spelled as each exporter spells them. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { inspectModel } from "../../src/models/inspect.ts";
import type { ModelConfig } from "../../src/models/model-config.ts";
import { parseOnnx } from "../../src/models/onnx-model.ts";
import { valueField } from "../../src/models/onnx-write.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import { bytesField, concatBytes } from "../../src/models/protobuf.ts";
import { findResidualStream } from "../../src/models/residual-stream.ts";
import { f16ToF32 } from "../../src/tensor/half.ts";
import { type Exporter, MINI, type Miniature, miniatureGpt2, miniatureLlama } from "./miniature.ts";
import { relativeL2, runGraphs, runSplit, seededBatch, temporaryFolder } from "./running.ts";
import { splitModel } from "./two-halves.ts";

const HUGGING_FACE = {
  model_type: "llama",
  num_hidden_layers: MINI.nLayers,
  hidden_size: MINI.dIn,
  num_attention_heads: MINI.heads,
  vocab_size: MINI.vocab,
};
const CONFIG: ModelConfig = {
  modelType: "llama",
  nLayers: MINI.nLayers,
  dIn: MINI.dIn,
  vocabSize: MINI.vocab,
  contextSize: null,
  keyValueHeads: Array.from({ length: MINI.nLayers }, () => [MINI.heads, MINI.headSize] as const),
};
const LAYERS = [0, 1, 2];
const BATCH = seededBatch([9, 5], MINI.vocab);

async function folderOf(miniature: Miniature, config: object | null = HUGGING_FACE): Promise<string> {
  const dir = await temporaryFolder();
  await miniature.builder.write(join(dir, "model.onnx"));
  if (config !== null) await writeFile(join(dir, "config.json"), JSON.stringify(config));
  return dir;
}

async function tapped(dir: string, layers = LAYERS): Promise<Float32Array[]> {
  const model = await openResidualModel(dir, { layers, threads: 2 });
  try {
    return await model.run(BATCH);
  } finally {
    await model.close();
  }
}

/** The uncut graph with further outputs, appended as a second piece of `graph`, which protobuf merges. */
function withOutputs(bytes: Uint8Array, names: readonly string[]): Uint8Array<ArrayBuffer> {
  return concatBytes([
    bytes,
    bytesField(
      7,
      names.map((name) => valueField(12, name)),
    ),
  ]);
}

describe.each(["dynamo", "torchscript", "bare"] as Exporter[])(
  "a decoder in the spelling of %s",
  (exporter) => {
    it("gives at each layer the tensor that its exporter knows as that layer's output", async () => {
      const miniature = miniatureLlama(exporter);
      const names = miniature.residuals as string[];
      const expected = await runGraphs(
        [{ bytes: withOutputs(miniature.builder.build(), names) }],
        BATCH,
        names,
      );
      const dir = await folderOf(miniature);
      const got = await tapped(dir);
      got.forEach((residual, i) => {
        expect(relativeL2(residual, expected[i], BATCH, MINI.dIn)).toBeLessThan(1e-6);
      });
      const { residual } = await inspectModel(dir);
      expect(residual?.tensors).toEqual(names);
      expect(residual?.numberedBy).toBe(exporter === "bare" ? "count" : "names and count");
    });
  },
);

it("numbers layers by names alone when there is no configuration", async () => {
  const dir = await folderOf(miniatureLlama("torchscript"), null);
  const { residual } = await inspectModel(dir);
  expect(residual).toMatchObject({ nLayers: 3, addsPerLayer: 2, numberedBy: "names" });
  expect((await tapped(dir, [1]))[0].length).toBe(BATCH.nWindows * BATCH.seqLen * MINI.dIn);
});

it("ONNX Runtime's model builder: norms fused with skips, empty caches, no tensor after the last layer", async () => {
  // The same weights in the unfused spelling compute the same function; they are the expectation, the last layer's too.
  const expected = await tapped(await folderOf(miniatureLlama("torchscript")));
  const dir = await folderOf(miniatureLlama("genai"));
  const { residual } = await inspectModel(dir);
  expect(residual?.tensors).toEqual([
    "/model/layers.1/input_layernorm/output_3",
    "/model/layers.2/input_layernorm/output_3",
    expect.stringMatching(/^\/model\/layers\.2\/post_attention_layernorm\/output_3 \+ val_/),
  ]);
  const got = await tapped(dir);
  got.forEach((layer, i) => {
    expect(relativeL2(layer, expected[i], BATCH, MINI.dIn)).toBeLessThan(2e-6);
  });
});

it("takes the cache's shape from genai_config.json when that is all there is", async () => {
  const dir = await folderOf(miniatureLlama("genai"), null);
  const decoder = {
    head_size: 16,
    hidden_size: 32,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    num_hidden_layers: 3,
  };
  await writeFile(
    join(dir, "genai_config.json"),
    JSON.stringify({ model: { type: "llama", vocab_size: 50, decoder } }),
  );
  const expected = await tapped(await folderOf(miniatureLlama("torchscript")), [1]);
  expect(relativeL2((await tapped(dir, [1]))[0], expected[0], BATCH, MINI.dIn)).toBeLessThan(2e-6);
});

it("GPT-2: the addition of position embeddings is not taken for a layer", async () => {
  const miniature = miniatureGpt2();
  const names = miniature.residuals as string[];
  const expected = await runGraphs([{ bytes: withOutputs(miniature.builder.build(), names) }], BATCH, names);
  const dir = await folderOf(miniature, {
    model_type: "gpt2",
    n_layer: 3,
    n_embd: 32,
    n_head: 2,
    vocab_size: 50,
  });
  expect((await inspectModel(dir)).residual).toMatchObject({
    tensors: names,
    addsPerLayer: 2,
    numberedBy: "names and count",
  });
  (await tapped(dir)).forEach((layer, i) => {
    expect(relativeL2(layer, expected[i], BATCH, MINI.dIn)).toBeLessThan(1e-6);
  });
});

it("half precision: the tap comes in float32, within half precision of the uncut graph", async () => {
  const miniature = miniatureLlama("dynamo", { float: "float16" });
  const names = miniature.residuals as string[];
  const bytes = withOutputs(miniature.builder.build(), names);
  const raw = await runGraphs([{ bytes }], BATCH, names);
  const got = await tapped(await folderOf(miniature));
  got.forEach((layer, i) => {
    expect(layer).toBeInstanceOf(Float32Array);
    const bits = raw[i] as ArrayBufferView as Uint16Array;
    const expected = bits instanceof Uint16Array ? f16ToF32(bits) : Float32Array.from(bits as Uint16Array);
    expect(relativeL2(layer, expected, BATCH, MINI.dIn)).toBeLessThan(1e-3);
  });
  const full = await tapped(await folderOf(miniatureLlama("dynamo")));
  expect(relativeL2(got[2], full[2], BATCH, MINI.dIn)).toBeLessThan(0.02);
});

describe.each([
  ["dynamo", () => miniatureLlama("dynamo")],
  ["genai", () => miniatureLlama("genai")],
  ["gpt2", miniatureGpt2],
] as const)("%s, split in two", (name, build) => {
  it.each(LAYERS)("after layer %i: upper(lower(x)) is the whole graph", async (layer) => {
    const bytes = build().builder.build();
    const model = parseOnnx(bytes, "model.onnx");
    const [whole] = await runGraphs([{ bytes }], BATCH, ["logits"], CONFIG);
    const split = splitModel(model, findResidualStream(model, MINI.nLayers), layer);
    expect(split.boundary, "only the residual stream crosses").toEqual([split.residual]);
    const joined = await runSplit(split, BATCH, CONFIG);
    expect(relativeL2(joined, whole, BATCH, MINI.vocab)).toBeLessThan(name === "dynamo" ? 1e-6 : 3e-6);
  });
});
