/** A model cut at several layers: nothing replaced, it is the whole graph; something replaced, all that depends on it changes. */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import type { ModelConfig } from "../../src/models/model-config.ts";
import { cutModel, replaceNodes } from "../../src/models/onnx-cut.ts";
import { parseOnnx } from "../../src/models/onnx-model.ts";
import { nodeField } from "../../src/models/onnx-write.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import { openSplicedModel } from "../../src/models/open-spliced.ts";
import type { OpenSplicedOptions, SplicedModel, TokenScores } from "../../src/models/spliced-model.ts";
import { type Exporter, type GraphBuilder, MINI, miniatureGpt2, miniatureLlama } from "./miniature.ts";
import { GEMMA, GEMMA_CONFIG, twoFileGemma, wholeGemma } from "./miniature-gemma.ts";
import { readReference, windowOf } from "./reference.ts";
import { runGraphs, seededBatch, temporaryFolder } from "./running.ts";
import { allTokens, furthest, naiveCe, naiveKl } from "./spliced.ts";
import { TOY_STREAM, type ToyEnd, toyModel, toyWeights } from "./toy.ts";

async function withModel<T>(
  dir: string,
  options: OpenSplicedOptions,
  use: (model: SplicedModel) => Promise<T>,
): Promise<T> {
  const model = await openSplicedModel(dir, { threads: 2, ...options });
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

const same = (_layer: number, stream: Float32Array) => stream;

describe("tiny-gemma", () => {
  it.each(["base", "it"] as const)(
    "%s: cross-entropy is that of Hugging Face transformers to 1e-5, and stays to the last bit when streams are put back",
    async (name) => {
      const { batch } = await readReference(name);
      const file = await openSafetensors("test/fixtures/tiny-gemma/reference.safetensors");
      const reference = await file.readF32(`${name}.token_cross_entropy`); // [6, 95]
      await file.close();
      await withModel(`assets/tiny-gemma/${name}`, { layers: [6, 2, 4] }, async (model) => {
        expect(model.layers).toEqual([2, 4, 6]);
        expect(model.unembedding).toEqual({
          vocabSize: 4096,
          chunkTokens: 2340,
          maxBatchTokens: null,
          problem: null,
        });
        const tokens = allTokens(batch);
        const run = await model.run(batch);
        const identities = [];
        for (const layers of [[2], [6], [2, 4, 6]]) identities.push(await run.intervene(layers, same));
        const { ceClean, ce, kl } = await run.score(tokens, identities);
        const expected = Array.from(tokens.rows, (row, i) =>
          tokens.next[i] < 0 ? Number.NaN : reference[Math.floor(row / 96) * 95 + (row % 96)],
        );
        expect(furthest(ceClean, expected)).toBeLessThan(1e-5);
        for (let i = 0; i < identities.length; i++) {
          expect(ce[i]).toEqual(ceClean);
          expect(kl[i].every((value) => value === 0)).toBe(true);
        }
      });
    },
  );

  it("it-int8, quantised dynamically: the uncut graph's logits, window by window", async () => {
    const { batch } = await readReference("it");
    const folder = resolve("assets/tiny-gemma/it-int8");
    const bytes = new Uint8Array(await readFile(`${folder}/model_quantized.onnx`));
    await withModel(folder, { layers: [3, 5] }, async (model) => {
      for (const w of [0, 3]) {
        const window = windowOf(batch, w);
        const [logits] = await runGraphs([{ bytes, folder }], window, ["logits"]);
        const tokens = allTokens(window);
        const run = await model.run(window);
        const { ceClean, kl } = await run.score(tokens, [await run.intervene([3, 5], same)]);
        await run.release();
        expect(furthest(ceClean, naiveCe(logits, tokens, 4096))).toBeLessThan(1e-5);
        expect(kl[0].every((value) => value === 0)).toBe(true);
      }
      await expect(model.run(batch)).rejects.toThrow(/quantises activations dynamically/);
    });
  });
});

describe("miniatures in every exporter's spelling", () => {
  const batch = seededBatch([9, 5], MINI.vocab);
  const tokens = allTokens(batch);
  const builds: [string, () => GraphBuilder][] = [
    ...(["dynamo", "torchscript", "bare", "genai"] as Exporter[]).map(
      (exporter): [string, () => GraphBuilder] => [exporter, () => miniatureLlama(exporter).builder],
    ),
    ["gpt2", () => miniatureGpt2().builder],
  ];

  it.each(builds)(
    "%s: clean it is the whole graph, and nothing goes round what is put in",
    async (name, build) => {
      const [logits] = await runGraphs([{ bytes: build().build() }], batch, ["logits"], LLAMA);
      await withModel(await llamaFolder(build()), { layers: [0, 1, 2] }, async (model) => {
        expect(model.unembedding.problem).toBe(null);
        const run = await model.run(batch);
        const identity = await run.intervene([0, 1, 2], same);
        const zero = await run.intervene([2], (_layer, stream) => stream.fill(0));
        const half = await run.intervene([0], (_layer, stream) => stream.map((value) => value / 2));
        const { ceClean, ce, kl } = await run.score(tokens, [identity, zero, half]);
        expect(furthest(ceClean, naiveCe(logits, tokens, MINI.vocab))).toBeLessThan(1e-5);
        expect(ce[0]).toEqual(ceClean);
        expect(kl[0].every((value) => value === 0)).toBe(true);
        expect(kl[2].every((value) => value > 0)).toBe(true);
        if (name === "gpt2") return; // its norm adds a bias
        const uniform = ce[1].filter((value) => !Number.isNaN(value));
        expect(uniform.length).toBe(12);
        for (const value of uniform) expect(value).toBeCloseTo(Math.log(MINI.vocab), 12);
      });
    },
  );

  it("half precision: streams go out in float32 and back in without losing a bit", async () => {
    const { builder } = miniatureLlama("dynamo", { float: "float16" });
    await withModel(await llamaFolder(builder), { layers: [0, 2] }, async (model) => {
      const run = await model.run(batch);
      expect(run.residuals[0]).toBeInstanceOf(Float32Array);
      const { ceClean, ce, kl } = await run.score(tokens, [await run.intervene([0, 2], same)]);
      expect(ce[0]).toEqual(ceClean);
      expect(kl[0].every((value) => value === 0)).toBe(true);
      const full = await withModel(
        await llamaFolder(miniatureLlama("dynamo").builder),
        { layers: [0] },
        async (other) => (await (await other.run(batch)).score(tokens, [])).ceClean,
      );
      expect(furthest(ceClean, full)).toBeLessThan(0.02);
    });
  });
});

describe("Gemma 4's shape: inputs per layer, keys and values shared by later layers", () => {
  const batch = seededBatch([12, 7, 3], GEMMA.vocab);
  const tokens = allTokens(batch);
  const layers = [0, 2, 3];

  it.each([[[0]], [[2]], [[3]], [[0, 2, 3]], [[0, 3]]])(
    "streams after %j times 0.7: all that depends on them changes as if the graph did it itself",
    async (changed) => {
      const dir = await temporaryFolder();
      const { builder, residuals } = wholeGemma();
      await builder.write(join(dir, "model.onnx"));
      await writeFile(join(dir, "config.json"), JSON.stringify(GEMMA_CONFIG));
      const bytes = builder.build();
      const [whole] = await runGraphs([{ bytes }], batch, ["logits"]);
      const inside = timesScalar(
        bytes,
        changed.map((layer) => residuals[layer]),
      );
      const [expected] = await runGraphs([{ bytes: inside }], batch, ["logits"]);
      const factor = Math.fround(0.7);
      await withModel(dir, { layers }, async (model) => {
        const run = await model.run(batch);
        const times = await run.intervene(changed, (_layer, stream) => stream.map((value) => value * factor));
        const { ceClean, ce, kl } = await run.score(tokens, [times]);
        expect(furthest(ceClean, naiveCe(whole, tokens, GEMMA.vocab))).toBeLessThan(1e-5);
        expect(furthest(ce[0], naiveCe(expected, tokens, GEMMA.vocab))).toBeLessThan(1e-5);
        expect(furthest(kl[0], naiveKl(whole, expected, tokens, GEMMA.vocab))).toBeLessThan(1e-5);
        expect(Math.max(...kl[0])).toBeGreaterThan(0.01);
      });
    },
  );

  it("in two files, with caches fed empty: the same numbers", async () => {
    const dir = await temporaryFolder();
    const { embed, decoder } = twoFileGemma(true);
    await embed.write(join(dir, "onnx/embed_tokens.onnx"));
    await decoder.write(join(dir, "onnx/decoder_model_merged.onnx"), ["decoder_model_merged.onnx_data"]);
    await writeFile(join(dir, "config.json"), JSON.stringify(GEMMA_CONFIG));
    const { builder } = wholeGemma();
    const [whole] = await runGraphs([{ bytes: builder.build() }], batch, ["logits"]);
    await withModel(dir, { layers }, async (model) => {
      const run = await model.run(batch);
      expect(run.residuals).toEqual(await model.streams(batch));
      const { ceClean, ce } = await run.score(tokens, [await run.intervene(layers, same)]);
      expect(furthest(ceClean, naiveCe(whole, tokens, GEMMA.vocab))).toBeLessThan(1e-5);
      expect(ce[0]).toEqual(ceClean);
    });
  });
});

describe("the end of a graph", () => {
  const [dIn, vocab] = [8, 20];
  const batch = seededBatch([7], vocab);
  const tokens = allTokens(batch);
  const tensors = new Map([[0, TOY_STREAM]]);
  const toy = async (end: ToyEnd) => {
    const dir = await temporaryFolder();
    const builder = toyModel(toyWeights(dIn, vocab), dIn, vocab, end);
    await builder.write(join(dir, "model.onnx"));
    return { dir, bytes: builder.build() };
  };

  it.each(["product", "gemm", "quantised", "soft cap", "kept positions"] as ToyEnd[])(
    "%s: cut off, and computed for few tokens at a time",
    async (end) => {
      const { dir, bytes } = await toy(end);
      const [logits] = await runGraphs([{ bytes }], batch, ["logits"]);
      const scores: TokenScores[] = [];
      for (const maxLogitsBytes of [3 * 28 * vocab, 2 ** 28])
        await withModel(dir, { layers: [0], tensors, maxLogitsBytes }, async (model) => {
          expect(model.unembedding.chunkTokens).toBe(Math.floor(maxLogitsBytes / (28 * vocab)));
          const run = await model.run(batch);
          const zero = await run.intervene([0], (_layer, stream) => stream.fill(0));
          scores.push(await run.score(tokens, [zero, await run.intervene([0], same)]));
        });
      for (const { ceClean, ce, kl } of scores) {
        expect(furthest(ceClean, naiveCe(logits, tokens, vocab))).toBeLessThan(1e-6);
        expect(ce[1]).toEqual(ceClean);
        expect(furthest(ce[0], scores[0].ce[0])).toBeLessThan(1e-9);
        expect(furthest(kl[0], scores[0].kl[0])).toBeLessThan(1e-9);
      }
    },
  );

  it.each([
    ["two products", /made of 2 products/],
    ["log-softmax", /stands LogSoftmax/],
    ["stream itself", /without a norm/],
  ] as [ToyEnd, RegExp][])(
    "%s: not cut off, which is said, and computed of whole windows",
    async (end, problem) => {
      const { dir, bytes } = await toy(end);
      const [whole] = await runGraphs([{ bytes }], batch, ["logits"]);
      await withModel(dir, { layers: [0], tensors, maxLogitsBytes: 50 * 28 * vocab }, async (model) => {
        expect(model.unembedding).toEqual({
          vocabSize: vocab,
          chunkTokens: null,
          maxBatchTokens: 50,
          problem: expect.stringMatching(problem),
        });
        const run = await model.run(batch);
        const zero = await run.intervene([0], (_layer, stream) => stream.fill(0));
        const { ceClean, ce, kl } = await run.score(tokens, [zero, await run.intervene([0], same)]);
        expect(furthest(ceClean, naiveCe(whole, tokens, vocab))).toBeLessThan(1e-5);
        const nothing = new Float32Array(whole.length); // zeros in, equal logits out
        expect(furthest(ce[0], naiveCe(nothing, tokens, vocab))).toBeLessThan(1e-5);
        expect(furthest(kl[0], naiveKl(whole, nothing, tokens, vocab))).toBeLessThan(1e-5);
        expect(ce[1]).toEqual(ceClean);
      });
    },
  );

  it.each(["product", "two products"] as ToyEnd[])(
    "%s: logits of some tokens, clean and intervened, are the whole graph's; too many at once are refused",
    async (end) => {
      const { dir, bytes } = await toy(end);
      const [whole] = await runGraphs([{ bytes }], batch, ["logits"]);
      const rows = Uint32Array.of(6, 2, 2);
      const expected = [...rows].flatMap((row) => [...whole.subarray(row * vocab, (row + 1) * vocab)]);
      const use = (maxLogitsBytes: number, look: (model: SplicedModel) => Promise<void>) =>
        withModel(dir, { layers: [0], tensors, maxLogitsBytes }, look);
      await use(2 ** 20, async (model) => {
        const run = await model.run(batch);
        expect(furthest(await run.logits(rows), expected)).toBeLessThan(1e-6);
        expect(await run.logits(rows, await run.intervene([0], same))).toEqual(await run.logits(rows));
        expect((await run.logits(rows.slice(0, 1))).length).toBe(vocab);
        const zero = await run.intervene([0], (_layer, stream) => stream.fill(0));
        expect(furthest(await run.logits(rows, zero), new Float32Array(3 * vocab))).toBeLessThan(1e-6);
      });
      await use(2 * 28 * vocab, async (model) => {
        const run = await model.run(batch);
        await expect(run.logits(rows)).rejects.toThrow(/computed at once: got [37], expected at most 2/);
      });
    },
  );

  it("logits of the last position only are refused, not taken for others'", async () => {
    const { dir } = await toy("last position");
    await withModel(dir, { layers: [0], tensors }, async (model) => {
      const run = await model.run(batch);
      await expect(run.score(tokens, [])).rejects.toThrow(/final hidden states of 1 tokens, expected 7/);
    });
  });

  it("a tensor named by hand is the stream, for those who only read it too", async () => {
    const { dir } = await toy("product");
    const reading = await openResidualModel(dir, { layers: [0], tensors, threads: 2 });
    const read = await reading.run(batch);
    await reading.close();
    expect(reading.info).toMatchObject({ nLayers: 1, dIn });
    await withModel(dir, { layers: [0], tensors }, async (model) => {
      expect(await model.streams(batch)).toEqual(read);
    });
  });

  it("says what it was named wrongly, and what cannot be", async () => {
    const { dir } = await toy("product");
    const open = (named: Map<number, string>, layers = [0]) =>
      openSplicedModel(dir, { layers, tensors: named });
    await expect(open(new Map([[0, "g"]]))).rejects.toThrow(/no tensor "g" in the graph, named for layer 0/);
    await expect(open(new Map([[1, "h"]]))).rejects.toThrow(/no tensor named for layer 0/);
    await expect(
      open(
        new Map([
          [0, "val_4"],
          [1, "h"],
        ]),
        [0, 1],
      ),
    ).rejects.toThrow(/"h" is computed before another cut/);
    await withModel(dir, { layers: [0], tensors }, async (model) => {
      const run = await model.run(batch);
      await expect(run.intervene([1], same)).rejects.toThrow(/layers 1: the model was cut at 0/);
      await expect(run.intervene([0], () => new Float32Array(3))).rejects.toThrow(
        /replaced residual stream: got 3/,
      );
      await run.release();
      await expect(run.score(tokens, [])).rejects.toThrow(/released/);
    });
  });
});

const LLAMA: ModelConfig = {
  modelType: "llama",
  nLayers: MINI.nLayers,
  dIn: MINI.dIn,
  vocabSize: MINI.vocab,
  contextSize: null,
  keyValueHeads: Array.from({ length: MINI.nLayers }, () => [MINI.heads, MINI.headSize] as const),
};

async function llamaFolder(builder: GraphBuilder): Promise<string> {
  const dir = await temporaryFolder();
  await builder.write(join(dir, "model.onnx"));
  const config = {
    model_type: "llama",
    num_hidden_layers: MINI.nLayers,
    hidden_size: MINI.dIn,
    num_attention_heads: MINI.heads,
    vocab_size: MINI.vocab,
  };
  await writeFile(join(dir, "config.json"), JSON.stringify(config));
  return dir;
}

/** The graph with the tensors made by some `Mul` nodes multiplied by layer 0's factor, 0.7, once more. */
function timesScalar(bytes: Uint8Array, names: readonly string[]): Uint8Array<ArrayBuffer> {
  const model = parseOnnx(bytes, "gemma.onnx");
  const replacements = names.map((name): [number, Uint8Array[]] => {
    const node = model.producerOf.get(name);
    if (node?.op !== "Mul") throw new Error(`${name} is made by ${node?.op}`);
    return [
      node.index,
      [
        nodeField("Mul", node.inputs, [`${name}/before`]),
        nodeField("Mul", [`${name}/before`, "layers.0.layer_scalar"], [name]),
      ],
    ];
  });
  return cutModel(replaceNodes(model, new Map(replacements)), { outputs: [{ name: "logits" }] });
}
