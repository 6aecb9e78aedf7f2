/** Logits by a model's own head are those of a plain product with its weights, however the head is spelled. */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { LatentLogits } from "../../src/dashboard/logits/logits.ts";
import {
  type LogitLensOptions,
  logitLensMemory,
  type ModelLogitLens,
  openLogitLens,
} from "../../src/dashboard/logits/open-logit-lens.ts";
import { summarizeLogits } from "../../src/dashboard/logits/summary.ts";
import { cutModel } from "../../src/models/onnx-cut.ts";
import { parseOnnx } from "../../src/models/onnx-model.ts";
import { ELEM, initializerField, modelBytes, nodeField, valueField } from "../../src/models/onnx-write.ts";
import { findUnembedding } from "../../src/models/unembedding.ts";
import { Philox } from "../../src/random/philox.ts";
import { f16ToF32, f32ToF16 } from "../../src/tensor/half.ts";
import { bytesOf } from "../../src/tensor/typed-array.ts";
import {
  type Exporter,
  type GraphBuilder,
  MINI,
  miniatureGpt2,
  miniatureLlama,
} from "../models/miniature.ts";
import { GEMMA, GEMMA_CONFIG, twoFileGemma, wholeGemma } from "../models/miniature-gemma.ts";
import { readReference } from "../models/reference.ts";
import { runGraphs, temporaryFolder, testSessions } from "../models/running.ts";
import { type ToyEnd, toyModel, toyWeights } from "../models/toy.ts";

const TOP = 10;

async function withLens<T>(
  dir: string,
  options: LogitLensOptions,
  use: (lens: ModelLogitLens) => Promise<T>,
): Promise<T> {
  const lens = await openLogitLens(dir, { threads: 2, top: TOP, ...options });
  try {
    return await use(lens);
  } finally {
    await lens.close();
  }
}

function normal(name: string, n: number, scale = 1, mean = 0): Float32Array {
  const random = new Philox(17, name);
  return Float32Array.from({ length: n }, (_, i) => mean + scale * random.normal(i));
}

/** rows [n, d] · weights [d, vocab] in double precision, each row multiplied by `norm` first. */
function plainProduct(rows: Float32Array, weights: Float32Array, dIn: number, norm?: Float32Array) {
  const vocab = weights.length / dIn;
  const n = rows.length / dIn;
  return Array.from({ length: n }, (_, row) => {
    const logits = new Float64Array(vocab);
    for (let d = 0; d < dIn; d++) {
      const value = rows[row * dIn + d] * (norm?.[d] ?? 1);
      for (let v = 0; v < vocab; v++) logits[v] += value * weights[d * vocab + v];
    }
    return logits;
  });
}

/** Each result is the summary of its row's logits, up to rounding. */
function expectLogits(results: readonly LatentLogits[], expected: readonly Float64Array[]): void {
  expect(results.length).toBe(expected.length);
  results.forEach((result, row) => {
    const logits = expected[row];
    const plain = summarizeLogits(Float32Array.from(logits), TOP);
    const scale = Math.max(Math.abs(plain.min), Math.abs(plain.max));
    const near = (a: number, b: number) => expect(Math.abs(a - b)).toBeLessThan(2e-6 * scale);
    for (const key of ["min", "max", "mean", "std"] as const) near(result[key], plain[key]);
    for (const side of ["top", "bottom"] as const) {
      expect(result[side].values.length).toBe(Math.min(TOP, logits.length));
      result[side].ids.forEach((id, rank) => {
        near(result[side].values[rank], logits[id]);
        near(result[side].values[rank], plain[side].values[rank]);
      });
      expect(new Set(result[side].ids).size).toBe(result[side].ids.length);
    }
    const moved = result.histogram.reduce((sum, count, i) => sum + Math.abs(count - plain.histogram[i]), 0);
    expect(moved).toBeLessThanOrEqual(2); // one value may stand on an edge
  });
}

/** What a builder gave a weight of this name, to be multiplied in the test. */
const weightOf = (name: string, n: number, scale: number, mean = 0) => {
  const random = new Philox(7, name);
  return Float32Array.from({ length: n }, (_, i) => mean + scale * random.normal(i));
};

async function folderOf(builder: GraphBuilder, config: object): Promise<string> {
  const dir = await temporaryFolder();
  await builder.write(join(dir, "model.onnx"));
  await writeFile(join(dir, "config.json"), JSON.stringify(config));
  return dir;
}

describe("miniatures in every exporter's spelling", () => {
  const { dIn, vocab } = MINI;
  const rows = normal("rows", 5 * dIn);
  const weights = weightOf("lm_head", dIn * vocab, 0.2);
  const llama = { model_type: "llama", num_hidden_layers: MINI.nLayers, hidden_size: dIn, vocab_size: vocab };

  it.each(["dynamo", "torchscript", "bare", "genai"] as Exporter[])("%s", async (exporter) => {
    const dir = await folderOf(miniatureLlama(exporter).builder, llama);
    await withLens(dir, {}, async (lens) => {
      expect(lens).toMatchObject({ vocabSize: vocab, finalNorm: false, dIn, normWeight: null });
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn));
      expect(await lens.logitsOf(new Float32Array(0))).toEqual([]);
      await expect(lens.logitsOf(new Float32Array(dIn + 1))).rejects.toThrow(/decoder rows: got 33/);
      await expect(lens.logitsOf(new Float32Array(dIn).fill(Number.NaN))).rejects.toThrow(/row 0 of 1/);
    });
    const norm = weightOf("norm.weight", dIn, 0.1, 1);
    await withLens(dir, { finalNorm: true }, async (lens) => {
      expect(lens.finalNorm).toBe(true);
      expect(lens.normWeight).toEqual(norm);
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn, norm));
    });
  });

  it("chunks change nothing, to the last bit", async () => {
    const dir = await folderOf(miniatureLlama("bare").builder, llama);
    const whole = await withLens(dir, {}, (lens) => lens.logitsOf(rows));
    for (const rowsOfAChunk of [2, 3, 4]) {
      const maxLogitsBytes = 3 * 4 * vocab * rowsOfAChunk;
      expect(await withLens(dir, { maxLogitsBytes }, (lens) => lens.logitsOf(rows))).toEqual(whole);
    }
    const single = await withLens(dir, {}, (lens) => lens.logitsOf(rows.subarray(0, dIn)));
    expect(single).toEqual(whole.slice(0, 1));
    const { total } = await logitLensMemory(dir, { maxLogitsBytes: 3 * 4 * vocab * 2 });
    expect(total).toBeGreaterThan(4 * dIn * vocab);
  });

  it("gpt2: the weight of a LayerNorm, its bias left out", async () => {
    const dir = await folderOf(miniatureGpt2().builder, {
      model_type: "gpt2",
      n_layer: 3,
      n_embd: 32,
      n_head: 2,
    });
    const norm = weightOf("ln_f.weight", dIn, 0.1, 1);
    await withLens(dir, {}, async (lens) =>
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn)),
    );
    await withLens(dir, { finalNorm: true }, async (lens) =>
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn, norm)),
    );
  });

  it("half precision: weights as they are stored, products in single precision", async () => {
    const dir = await folderOf(miniatureLlama("dynamo", { float: "float16" }).builder, llama);
    const half = (values: Float32Array) => f16ToF32(f32ToF16(values));
    const norm = half(weightOf("norm.weight", dIn, 0.1, 1));
    await withLens(dir, { finalNorm: true }, async (lens) => {
      expect(lens.normWeight).toEqual(norm);
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, half(weights), dIn, norm));
    });
  });

  it("Gemma 4's shape, whole and in two files", async () => {
    const { dIn, vocab } = GEMMA;
    const rows = normal("gemma", 3 * dIn);
    const expected = plainProduct(rows, weightOf("lm_head", dIn * vocab, 0.2), dIn);
    await withLens(await folderOf(wholeGemma().builder, GEMMA_CONFIG), {}, async (lens) =>
      expectLogits(await lens.logitsOf(rows), expected),
    );
    const dir = await temporaryFolder();
    const { embed, decoder } = twoFileGemma(true);
    await embed.write(join(dir, "onnx/embed_tokens.onnx"));
    await decoder.write(join(dir, "onnx/decoder_model_merged.onnx"), ["decoder_model_merged.onnx_data"]);
    await writeFile(join(dir, "config.json"), JSON.stringify(GEMMA_CONFIG));
    await withLens(dir, {}, async (lens) => expectLogits(await lens.logitsOf(rows), expected));
  });
});

describe("the end of a graph", () => {
  const [dIn, vocab] = [8, 20];
  const weights = toyWeights(dIn, vocab);
  const rows = normal("toy", 4 * dIn);
  const toy = (end: ToyEnd) => folderOf(toyModel(weights, dIn, vocab, end), { hidden_size: dIn });

  it.each(["product", "gemm", "soft cap", "kept positions", "last position", "stream itself"] as ToyEnd[])(
    "%s: before biases and soft caps",
    async (end) => {
      await withLens(await toy(end), {}, async (lens) =>
        expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights.U, dIn)),
      );
    },
  );

  it("quantised dynamically: weights dequantised, rows not rounded", async () => {
    const scale = Math.fround(Math.max(...weights.U.map(Math.abs)) / 127);
    const int8 = weights.U.map((value) =>
      Math.fround(Math.round(value / (Math.max(...weights.U.map(Math.abs)) / 127)) * scale),
    );
    await withLens(await toy("quantised"), {}, async (lens) =>
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, int8, dIn)),
    );
  });

  it.each([
    ["two products", /cannot be cut off: they are made of 2 products/],
    ["log-softmax", /stands LogSoftmax/],
  ] as [ToyEnd, RegExp][])("%s: refused, with the reason", async (end, problem) => {
    await expect(openLogitLens(await toy(end))).rejects.toThrow(problem);
  });

  it.each([
    ["product", /before the head stands Add/],
    ["stream itself", /before the head stands Add/],
  ] as [ToyEnd, RegExp][])("%s: no norm to multiply by, which is said", async (end, problem) => {
    await expect(openLogitLens(await toy(end), { finalNorm: true })).rejects.toThrow(problem);
  });

  it("says what is missing", async () => {
    const dir = await temporaryFolder();
    await toyModel(weights, dIn, vocab).write(join(dir, "model.onnx"));
    await expect(openLogitLens(dir)).rejects.toThrow(/how wide its head is/);
    await expect(openLogitLens(await toy("product"), { top: 256 })).rejects.toThrow(/top logits: got 256/);
  });
});

/** A graph of an embedding, a norm's weight, and a head of the given nodes and weights. */
function headOf(
  dIn: number,
  vocab: number,
  nodes: readonly Uint8Array[],
  weights: readonly Uint8Array[],
  half = false,
) {
  const float = half ? ELEM.float16 : ELEM.float32;
  const floats = (name: string, dims: number[], values: Float32Array) =>
    initializerField(name, float, dims, bytesOf(half ? f32ToF16(values) : values));
  return modelBytes([
    valueField(11, "input_ids", ELEM.int64, ["batch", "sequence"]),
    nodeField("Gather", ["E", "input_ids"], ["embedded"]),
    nodeField("Add", ["stored_weight", "one"], ["norm_weight"]),
    nodeField("Mul", ["norm_weight", "embedded"], ["normed"]),
    ...nodes,
    floats("E", [vocab, dIn], normal("E", vocab * dIn)),
    floats("stored_weight", [dIn], normal("stored", dIn, 0.1)),
    floats("one", [], Float32Array.of(1)),
    ...weights,
    valueField(12, "logits", float, ["batch", "sequence", vocab]),
  ]);
}

describe("quantised heads", () => {
  const [dIn, vocab] = [32, 24];
  const rows = normal("quantised rows", 5 * dIn);
  /** 1 + what is stored: the graph adds it, as Gemma's norms do */
  const norm = normal("stored", dIn, 0.1).map((value) => Math.fround(value + 1));
  const write = async (bytes: Uint8Array) => {
    const dir = await temporaryFolder();
    await writeFile(join(dir, "model.onnx"), bytes);
    await writeFile(join(dir, "config.json"), JSON.stringify({ hidden_size: dIn, vocab_size: vocab }));
    return dir;
  };

  it.each([
    ["single", false],
    ["half", true],
  ])(
    "MatMulNBits in %s precision, told to round its rows: they are not, and its bias is left out",
    async (_name, half) => {
      const block = 16;
      const packed = Uint8Array.from({ length: (vocab * dIn) / 2 }, (_, i) => (i * 89 + 41) % 256);
      const stored = normal("scales", (vocab * dIn) / block, 0.01, 0.1);
      const scales = half ? f16ToF32(f32ToF16(stored)) : stored;
      const float = half ? ELEM.float16 : ELEM.float32;
      const floatBytes = (values: Float32Array) => bytesOf(half ? f32ToF16(values) : values);
      const attributes = { K: dIn, N: vocab, bits: 4, block_size: block, accuracy_level: 4 };
      const dir = await write(
        headOf(
          dIn,
          vocab,
          [
            nodeField("MatMulNBits", ["normed", "B", "scales", "", "", "bias"], ["logits"], {
              domain: "com.microsoft",
              attributes,
            }),
          ],
          [
            initializerField("B", ELEM.uint8, [vocab, dIn / block, block / 2], packed),
            initializerField("scales", float, [vocab, dIn / block], floatBytes(stored)),
            initializerField("bias", float, [vocab], floatBytes(new Float32Array(vocab).fill(3))),
          ],
          half,
        ),
      );
      // B is [vocab, dIn], two numbers a byte, the lower half first, 8 standing for zero
      const weights = new Float32Array(dIn * vocab);
      for (let v = 0; v < vocab; v++)
        for (let d = 0; d < dIn; d++) {
          const at = v * dIn + d;
          const nibble = d % 2 === 0 ? packed[at >> 1] & 15 : packed[at >> 1] >> 4;
          weights[d * vocab + v] = Math.fround((nibble - 8) * scales[Math.floor(at / block)]);
        }
      await withLens(dir, {}, async (lens) =>
        expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn)),
      );
    },
  );

  const int8 = Int8Array.from({ length: dIn * vocab }, (_, i) => ((i * 97) % 251) - 125);
  const zeros = Int8Array.from({ length: vocab }, (_, v) => (v % 7) - 3);
  const columnScales = normal("columns", vocab, 0.001, 0.01);
  const dequantized = Float32Array.from(int8, (value, i) =>
    Math.fround((value - zeros[i % vocab]) * columnScales[i % vocab]),
  );
  const integers = [
    initializerField("W", ELEM.int8, [dIn, vocab], bytesOf(int8)),
    initializerField("W_zero", ELEM.int8, [vocab], bytesOf(zeros)),
    initializerField("W_scale", ELEM.float32, [vocab], bytesOf(columnScales)),
  ];
  const quantizeRows = nodeField("DynamicQuantizeLinear", ["normed"], ["rows", "rows_scale", "rows_zero"]);

  it("MatMulInteger with a scale and a zero point a column, and the norm's weight before it", async () => {
    const dir = await write(
      headOf(
        dIn,
        vocab,
        [
          quantizeRows,
          nodeField("Mul", ["rows_scale", "W_scale"], ["scale"]),
          nodeField("MatMulInteger", ["rows", "W", "rows_zero", "W_zero"], ["whole"]),
          nodeField("Cast", ["whole"], ["numbers"], { attributes: { to: ELEM.float32 } }),
          nodeField("Mul", ["numbers", "scale"], ["logits"]),
        ],
        integers,
      ),
    );
    await withLens(dir, { finalNorm: true }, async (lens) => {
      expect(lens.normWeight).toEqual(norm);
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, dequantized, dIn, norm));
    });
  });

  it("MatMulIntegerToFloat", async () => {
    const inputs = ["rows", "W", "rows_scale", "W_scale", "rows_zero", "W_zero"];
    const fused = nodeField("MatMulIntegerToFloat", inputs, ["logits"], { domain: "com.microsoft" });
    const dir = await write(headOf(dIn, vocab, [quantizeRows, fused], integers));
    await withLens(dir, {}, async (lens) =>
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, dequantized, dIn)),
    );
  });

  it("an integer product whose scale is not to be found is refused", async () => {
    const dir = await write(
      headOf(
        dIn,
        vocab,
        [
          quantizeRows,
          nodeField("MatMulInteger", ["rows", "W", "rows_zero"], ["whole"]),
          nodeField("Cast", ["whole"], ["logits"], { attributes: { to: ELEM.float32 } }),
        ],
        integers,
      ),
    );
    await expect(openLogitLens(dir)).rejects.toThrow(/the scale of its weights was not found/);
  });

  it("Gemm with transposed weights and a bias", async () => {
    const flat = nodeField("Reshape", ["normed", "flat"], ["flattened"]);
    const gemm = nodeField("Gemm", ["flattened", "Wt", "bias"], ["product"], { attributes: { transB: 1 } });
    const back = nodeField("Reshape", ["product", "back"], ["logits"]);
    const transposed = normal("Wt", vocab * dIn);
    const dir = await write(
      headOf(
        dIn,
        vocab,
        [flat, gemm, back],
        [
          initializerField("flat", ELEM.int64, [2], bytesOf(BigInt64Array.of(-1n, BigInt(dIn)))),
          initializerField("back", ELEM.int64, [3], bytesOf(BigInt64Array.of(1n, -1n, BigInt(vocab)))),
          initializerField("Wt", ELEM.float32, [vocab, dIn], bytesOf(transposed)),
          initializerField("bias", ELEM.float32, [vocab], bytesOf(new Float32Array(vocab).fill(3))),
        ],
      ),
    );
    const weights = Float32Array.from(
      { length: dIn * vocab },
      (_, i) => transposed[(i % vocab) * dIn + Math.floor(i / vocab)],
    );
    await withLens(dir, { finalNorm: true }, async (lens) => {
      expect(lens.normWeight).toEqual(norm);
      expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn, norm));
    });
  });
});

describe("tiny-gemma", () => {
  const [dIn, vocab, cap] = [256, 4096, 30];
  const rows = normal("tiny", 6 * dIn, 0.1);
  const graphs = { base: "model.onnx", it: "model.onnx", "it-int8": "model_quantized.onnx" };
  const parsed = async (name: keyof typeof graphs) => {
    const folder = resolve(`assets/tiny-gemma/${name}`);
    const model = parseOnnx(new Uint8Array(await readFile(join(folder, graphs[name]))), name);
    const head = findUnembedding(model, "logits");
    if ("problem" in head) throw new Error(head.problem);
    return { folder, model, head };
  };

  it.each(["base", "it", "it-int8"] as const)(
    "%s: a plain product with the graph's own matrix, and the norm's weight",
    async (name) => {
      const { folder, model, head } = await parsed(name);
      const sessions = await testSessions();
      const outputs = [{ name: head.product.inputs[1] }, { name: "model.norm.weight" }];
      const graph = cutModel(model, {
        outputs,
        append: outputs.map(({ name }) => nodeField("Identity", [name], [`${name}/same`])),
        appendReads: outputs.map(({ name }) => name),
      });
      const loaded = await sessions.load(graph, folder, "its weights", { plainProducts: true });
      const values = await sessions.run(
        [loaded],
        {},
        outputs.map(({ name }) => name),
      );
      const [weights, norm] = outputs.map(({ name }) => values[name].data as Float32Array);
      expect(weights.length).toBe(dIn * vocab);
      await withLens(folder, {}, async (lens) =>
        expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn)),
      );
      await withLens(folder, { finalNorm: true }, async (lens) => {
        expect(lens.normWeight).toEqual(norm);
        expectLogits(await lens.logitsOf(rows), plainProduct(rows, weights, dIn, norm));
      });
    },
  );

  it("it: of a token's final hidden state it gives the whole graph's logits, before the soft cap", async () => {
    const { folder, model, head } = await parsed("it");
    const { batch } = await readReference("it");
    const graph = cutModel(model, { outputs: [{ name: head.hidden }, { name: "logits" }] });
    const [hidden, logits] = await runGraphs([{ bytes: graph, folder }], batch, [head.hidden, "logits"]);
    const some = hidden.slice(0, 40 * dIn);
    await withLens(folder, {}, async (lens) => {
      const results = await lens.logitsOf(some);
      expect(results.length).toBe(40);
      results.forEach(({ top, bottom }, token) => {
        for (const { ids, values } of [top, bottom])
          ids.forEach((id, rank) => {
            const capped = cap * Math.tanh(values[rank] / cap);
            expect(Math.abs(capped - logits[token * vocab + id])).toBeLessThan(1e-4);
          });
      });
    });
  });
});
