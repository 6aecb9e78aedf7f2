/** The hub's layout for Gemma 4: `embed_tokens` and `decoder_model_merged` in `onnx/`, weights in several files. */
import { copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { inspectModel } from "../../src/models/inspect.ts";
import { readModelConfig } from "../../src/models/model-config.ts";
import { cutModel } from "../../src/models/onnx-cut.ts";
import { parseOnnx } from "../../src/models/onnx-model.ts";
import { ELEM, initializerField, nodeField, valueField } from "../../src/models/onnx-write.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import { bytesField, concatBytes } from "../../src/models/protobuf.ts";
import { findResidualStream } from "../../src/models/residual-stream.ts";
import { f16ToF32 } from "../../src/tensor/half.ts";
import { bytesOf } from "../../src/tensor/typed-array.ts";
import { GEMMA, GEMMA_CONFIG, twoFileGemma, wholeGemma } from "./miniature-gemma.ts";
import { readReference } from "./reference.ts";
import { relativeL2, runGraphs, runSplit, seededBatch, temporaryFolder } from "./running.ts";
import { splitModel } from "./two-halves.ts";

describe("tiny-gemma's weights in two files", () => {
  it("agree with the reference to 1e-5, layer by layer and position by position", async () => {
    const dir = await temporaryFolder();
    await mkdir(join(dir, "onnx"));
    const source = "assets/tiny-gemma/it";
    const { embed, decoder } = inTwo(await readFile(join(source, "model.onnx")));
    await writeFile(join(dir, "onnx/embed_tokens.onnx"), embed);
    await writeFile(join(dir, "onnx/decoder_model_merged.onnx"), decoder);
    await writeFile(join(dir, "config.json"), await readFile(join(source, "config.json")));

    const inspection = await inspectModel(dir);
    expect(inspection).toMatchObject({
      layout: "embeds",
      dtype: "fp32",
      residual: { nLayers: 8, addsPerLayer: 3 },
    });
    const { batch, residuals } = await readReference("it");
    const model = await openResidualModel(dir, { layers: [6, 2, 4], threads: 2 });
    expect(model.info.files.map((file) => file.name)).toEqual([
      "onnx/embed_tokens.onnx",
      "onnx/decoder_model_merged.onnx",
    ]);
    expect(model.layers).toEqual([2, 4, 6]);
    const got = await model.run(batch);
    await model.close();
    model.layers.forEach((layer, i) => {
      expect(relativeL2(got[i], residuals[layer], batch, 256)).toBeLessThan(1e-5);
    });

    // Whole, with every input fed (empty cache, positions, num_logits_to_keep = 0): the logits.
    const config = await readModelConfig(join(dir, "config.json"));
    const [logits] = await runGraphs([{ bytes: embed }, { bytes: decoder }], batch, ["logits"], config);
    const reference = await openSafetensors("test/fixtures/tiny-gemma/reference.safetensors");
    const expected = f16ToF32((await reference.read("it.logits")) as Uint16Array);
    await reference.close();
    expect(relativeL2(logits, expected, batch, 4096)).toBeLessThan(1e-3);
  });
});

describe("a seeded decoder with two head sizes and shared keys and values", () => {
  const batch = seededBatch([12, 7, 3], GEMMA.vocab);
  const layers = [0, 2, 3, 5];

  it.each([
    ["in the graph", false],
    ["in the configuration only", true],
  ])("agrees with its uncut graph; cache sizes %s", async (_where, symbolic) => {
    const dir = await twoFileFolder(symbolic);
    const { builder, residuals } = wholeGemma();
    const expected = await runGraphs([{ bytes: builder.build() }], batch, residuals);
    const model = await openResidualModel(dir, { layers, threads: 2 });
    const got = await model.run(batch);
    await model.close();
    layers.forEach((layer, i) => {
      expect(relativeL2(got[i], expected[layer], batch, GEMMA.dIn)).toBeLessThan(2e-6);
    });
    expect(model.info).toMatchObject({ nLayers: GEMMA.nLayers, dIn: GEMMA.dIn, contextSize: 128 });
    const data = model.info.files.filter((file) => file.sha256 === null).map((file) => file.name);
    expect(data.sort()).toEqual([
      "onnx/decoder_model_merged.onnx_data",
      "onnx/decoder_model_merged.onnx_data_1",
      "onnx/embed_tokens.onnx_data",
    ]);
  });

  it.skipIf(process.platform === "win32")(
    "works through the links of a download cache, which ONNX Runtime alone refuses",
    async () => {
      const dir = await twoFileFolder(false);
      const linked = await temporaryFolder();
      await mkdir(join(linked, "snapshot/onnx"), { recursive: true });
      await mkdir(join(linked, "blobs"));
      for (const name of [
        "config.json",
        ...(await readdir(join(dir, "onnx"))).map((file) => `onnx/${file}`),
      ]) {
        const blob = `blobs/${name.replace(/\W/g, "")}`;
        await copyFile(join(dir, name), join(linked, blob));
        await symlink(join(linked, blob), join(linked, "snapshot", name));
      }
      const batchOfOne = seededBatch([6], GEMMA.vocab);
      const results = [];
      for (const folder of [dir, join(linked, "snapshot")]) {
        const model = await openResidualModel(folder, { layers: [1], threads: 2 });
        results.push((await model.run(batchOfOne))[0]);
        await model.close();
      }
      expect(results[1]).toEqual(results[0]);
    },
  );

  it("names the weights file that is missing, before ONNX Runtime is asked", async () => {
    const dir = await twoFileFolder(false);
    await rm(join(dir, "onnx/decoder_model_merged.onnx_data_1"));
    await expect(openResidualModel(dir, { layers: [0] })).rejects.toThrow(
      /weights file .*decoder_model_merged\.onnx_data_1 is missing/,
    );
    const { weights } = await inspectModel(dir);
    expect(weights.filter((file) => file.bytes === null).map((file) => file.name)).toEqual([
      "onnx/decoder_model_merged.onnx_data_1",
    ]);
  });

  it("names the weights file that is too short", async () => {
    const dir = await twoFileFolder(false);
    await writeFile(join(dir, "onnx/embed_tokens.onnx_data"), new Uint8Array(64));
    await expect(openResidualModel(dir, { layers: [0] })).rejects.toThrow(
      /embed_tokens\.onnx_data has 64 bytes/,
    );
  });

  it.each([0, 2, 3, 5])(
    "split after layer %i: shared keys and values and per-layer inputs cross too",
    async (layer) => {
      const { builder } = wholeGemma();
      const bytes = builder.build();
      const model = parseOnnx(bytes, "gemma.onnx");
      const [whole] = await runGraphs([{ bytes }], batch, ["logits"]);
      const split = splitModel(model, findResidualStream(model, GEMMA.nLayers), layer);
      // Layers 4 and 5 read the keys and values of layers 3 (head size 32) and 2 (64).
      const crossing = split.boundary.filter((name) => name.startsWith("present.")).length;
      expect(crossing).toBe({ 0: 0, 2: 2, 3: 4, 5: 0 }[layer]);
      const joined = await runSplit(split, batch);
      expect(relativeL2(joined, whole, batch, GEMMA.vocab)).toBeLessThan(2e-6);
    },
  );
});

async function twoFileFolder(symbolicCache: boolean): Promise<string> {
  const dir = await temporaryFolder();
  const { embed, decoder } = twoFileGemma(symbolicCache);
  await embed.write(join(dir, "onnx/embed_tokens.onnx"), ["embed_tokens.onnx_data"]);
  await decoder.write(join(dir, "onnx/decoder_model_merged.onnx"), [
    "decoder_model_merged.onnx_data",
    "decoder_model_merged.onnx_data_1",
  ]);
  await writeFile(join(dir, "config.json"), JSON.stringify(GEMMA_CONFIG));
  return dir;
}

/** Rearranges tiny-gemma's graph: token and per-layer embeddings in one, everything else in the other. */
function inTwo(bytes: Uint8Array): { embed: Uint8Array<ArrayBuffer>; decoder: Uint8Array<ArrayBuffer> } {
  const model = parseOnnx(bytes, "tiny-gemma");
  const [tokens, perLayer] = [
    "/model/embed_tokens/Mul_output_0",
    "/model/embed_tokens_per_layer/Mul_output_0",
  ];
  const embed = cutModel(model, {
    outputs: [
      { name: "inputs_embeds", elemType: ELEM.float32 },
      { name: "per_layer_inputs", elemType: ELEM.float32 },
    ],
    append: [
      nodeField("Identity", [tokens], ["inputs_embeds"]),
      nodeField("Reshape", [perLayer, "four_dims"], ["per_layer_inputs"]),
      initializerField("four_dims", ELEM.int64, [4], bytesOf(BigInt64Array.of(0n, 0n, 8n, 16n))),
    ],
    appendReads: [tokens, perLayer],
  });
  const decoder = cutModel(model, {
    inputs: [
      { name: "inputs_embeds", elemType: ELEM.float32, shape: ["batch", "seq", 256], replaces: tokens },
      {
        name: "per_layer_inputs",
        elemType: ELEM.float32,
        shape: ["batch", "seq", 8, 16],
        replaces: "/model/Reshape_output_0",
      },
    ],
    outputs: [{ name: "logits" }],
  });
  const declared = [
    valueField(11, "position_ids", ELEM.int64, ["batch", "seq"]),
    valueField(11, "num_logits_to_keep", ELEM.int64, []),
    ...Array.from({ length: 8 }, (_, layer) =>
      ["key", "value"].map((part) =>
        valueField(11, `past_key_values.${layer}.${part}`, ELEM.float32, ["batch", 1, "past", 64]),
      ),
    ).flat(),
  ];
  return { embed, decoder: concatBytes([decoder, bytesField(7, declared)]) };
}
