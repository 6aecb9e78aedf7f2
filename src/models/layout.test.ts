import { describe, expect, it } from "vitest";
import { ModelError } from "../errors.ts";
import { chooseModelFiles } from "./layout.ts";

const TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/** The hub's shape of a multimodal model: several graphs, several variants, data in pieces. */
const HUB = [
  ".gitattributes",
  "README.md",
  "config.json",
  "generation_config.json",
  ...TOKENIZER,
  ...["", "_fp16", "_q4", "_q4f16", "_quantized"].flatMap((suffix) => [
    `onnx/vision_encoder${suffix}.onnx`,
    `onnx/audio_encoder${suffix}.onnx`,
    `onnx/embed_tokens${suffix}.onnx`,
    `onnx/embed_tokens${suffix}.onnx_data`,
    `onnx/decoder_model_merged${suffix}.onnx`,
    `onnx/decoder_model_merged${suffix}.onnx_data`,
    `onnx/decoder_model_merged${suffix}.onnx_data_1`,
  ]),
];

describe("the hub's two-file layout", () => {
  it("takes the chosen variant of both graphs, their data and nothing of the encoders", () => {
    expect(chooseModelFiles(HUB, { dtype: "q4f16" })).toEqual({
      layout: "embeds",
      dtype: "q4f16",
      decoder: "onnx/decoder_model_merged_q4f16.onnx",
      embed: "onnx/embed_tokens_q4f16.onnx",
      data: [
        "onnx/embed_tokens_q4f16.onnx_data",
        "onnx/decoder_model_merged_q4f16.onnx_data",
        "onnx/decoder_model_merged_q4f16.onnx_data_1",
      ],
      config: ["config.json", "generation_config.json"],
      tokenizer: TOKENIZER,
    });
  });

  it("takes full precision when nothing is chosen, and q8 for the suffix _quantized", () => {
    expect(chooseModelFiles(HUB).decoder).toBe("onnx/decoder_model_merged.onnx");
    expect(chooseModelFiles(HUB, { dtype: "q8" })).toMatchObject({
      dtype: "quantized",
      decoder: "onnx/decoder_model_merged_quantized.onnx",
    });
  });

  it("takes the embeddings' only variant when the decoder's is not among them", () => {
    const files = ["onnx/embed_tokens.onnx", "onnx/decoder_model_merged_q4.onnx"];
    expect(chooseModelFiles(files)).toMatchObject({ dtype: "q4", embed: "onnx/embed_tokens.onnx" });
  });
});

describe("one graph", () => {
  it.each([
    [
      "in the folder",
      ["model.onnx", "model.onnx.data", "config.json"],
      "model.onnx",
      "fp32",
      ["model.onnx.data"],
    ],
    [
      "in onnx/",
      ["onnx/model.onnx", "onnx/model.onnx_data"],
      "onnx/model.onnx",
      "fp32",
      ["onnx/model.onnx_data"],
    ],
    ["the only variant", ["model_quantized.onnx"], "model_quantized.onnx", "quantized", []],
    [
      "in one other folder",
      ["cpu-int4/model.onnx", "cpu-int4/model.onnx.data"],
      "cpu-int4/model.onnx",
      "fp32",
      ["cpu-int4/model.onnx.data"],
    ],
    [
      "optimum's older name",
      ["decoder_model.onnx", "decoder_with_past_model.onnx"],
      "decoder_model.onnx",
      "fp32",
      [],
    ],
  ])("%s", (_name, files, decoder, dtype, data) => {
    expect(chooseModelFiles(files)).toMatchObject({ layout: "single", decoder, dtype, data, embed: null });
  });

  it("finds the configuration beside the graph first, then above it", () => {
    const files = [
      "a/model.onnx",
      "a/genai_config.json",
      "config.json",
      "a/tokenizer.json",
      "tokenizer.json",
    ];
    expect(chooseModelFiles(files)).toMatchObject({
      config: ["config.json", "a/genai_config.json"],
      tokenizer: ["a/tokenizer.json"],
    });
  });
});

describe("refusals", () => {
  it.each([
    ["nothing there", ["README.md"], undefined, /no \.onnx file/],
    [
      "no language model",
      ["onnx/vision_encoder.onnx"],
      undefined,
      /among the graphs: onnx\/vision_encoder\.onnx/,
    ],
    [
      "several variants, none full",
      ["model_q4.onnx", "model_fp16.onnx"],
      undefined,
      /several variants of model: q4, fp16/,
    ],
    [
      "no such variant",
      ["model.onnx", "model_q4.onnx"],
      "fp16",
      /no model of dtype "fp16"; there is fp32, q4/,
    ],
    ["several folders", ["cpu/model.onnx", "gpu/model.onnx"], undefined, /one in each of cpu\/, gpu\//],
  ])("%s", (_name, files, dtype, message) => {
    const choose = () => chooseModelFiles(files, { dtype });
    expect(choose).toThrow(ModelError);
    expect(choose).toThrow(message);
  });
});
