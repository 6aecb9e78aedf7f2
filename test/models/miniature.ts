/**
 * Miniature decoder models, written as ONNX graphs the way various exporters write the real ones. Weights come from a
 * seed and a name, so two spellings of one architecture compute the same numbers.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type Attribute,
  ELEM,
  initializerField,
  modelBytes,
  nodeField,
  valueField,
} from "../../src/models/onnx-write.ts";
import { Philox } from "../../src/random/philox.ts";
import { f32ToF16 } from "../../src/tensor/half.ts";
import { bytesOf } from "../../src/tensor/typed-array.ts";

type Shape = readonly (number | string)[];

/** Collects nodes and weights; names itself what nobody named. */
export class GraphBuilder {
  readonly #fields: Uint8Array[] = [];
  readonly #weights = new Map<string, { elemType: number; dims: readonly number[]; data: Uint8Array }>();
  readonly #float: "float32" | "float16";
  #count = 0;

  constructor(options: { float?: "float32" | "float16" } = {}) {
    this.#float = options.float ?? "float32";
  }

  get floatType(): number {
    return ELEM[this.#float];
  }

  input(name: string, elemType: number, shape: Shape): string {
    this.#fields.push(valueField(11, name, elemType, shape));
    return name;
  }

  output(name: string, elemType: number, shape: Shape): void {
    this.#fields.push(valueField(12, name, elemType, shape));
  }

  node(
    op: string,
    inputs: readonly string[],
    options: {
      output?: string;
      outputs?: readonly string[];
      name?: string;
      domain?: string;
      attributes?: Record<string, Attribute>;
      metadata?: Record<string, string>;
    } = {},
  ): string {
    const outputs = options.outputs ?? [options.output ?? `val_${this.#count++}`];
    const name =
      options.name === undefined || options.output ? options.name : `${options.name}/${op}_${this.#count++}`;
    this.#fields.push(nodeField(op, inputs, outputs, { ...options, name }));
    return outputs[0];
  }

  /** Seeded normal weights of standard deviation `scale` (around `mean`), the same for the same name. */
  weight(name: string, dims: readonly number[], scale: number, mean = 0): string {
    const random = new Philox(7, name);
    const length = dims.reduce((product, size) => product * size, 1);
    return this.floats(
      name,
      dims,
      Float32Array.from({ length }, (_, i) => mean + scale * random.normal(i)),
    );
  }

  floats(name: string, dims: readonly number[], values: Float32Array): string {
    const data = bytesOf(this.#float === "float32" ? values : f32ToF16(values));
    this.#weights.set(name, { elemType: this.floatType, dims, data });
    return name;
  }

  scalar(value: number): string {
    return this.floats(`scalar_${value}`, [], Float32Array.of(value));
  }

  ints(...values: number[]): string {
    const name = `ints_${values.join("_")}`;
    const data = bytesOf(BigInt64Array.from(values, BigInt));
    this.#weights.set(name, { elemType: ELEM.int64, dims: [values.length], data });
    return name;
  }

  /** The model with its weights inside. */
  build(): Uint8Array<ArrayBuffer> {
    const weights = [...this.#weights].map(([name, { elemType, dims, data }]) =>
      initializerField(name, elemType, dims, data),
    );
    return modelBytes([...this.#fields, ...weights]);
  }

  /** Writes the model to `path`, its larger weights dealt out to the data files named. */
  async write(path: string, dataFiles: readonly string[] = []): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    if (dataFiles.length === 0) return writeFile(path, this.build());
    const contents: Uint8Array[][] = dataFiles.map(() => []);
    const sizes = dataFiles.map(() => 0);
    let next = 0;
    const weights = [...this.#weights].map(([name, { elemType, dims, data }]) => {
      if (data.length < 256) return initializerField(name, elemType, dims, data);
      const file = next++ % dataFiles.length;
      const at = { location: dataFiles[file], offset: sizes[file], length: data.length };
      const padded = new Uint8Array(Math.ceil(data.length / 64) * 64);
      padded.set(data);
      contents[file].push(padded);
      sizes[file] += padded.length;
      return initializerField(name, elemType, dims, at);
    });
    await writeFile(path, modelBytes([...this.#fields, ...weights]));
    for (const [i, name] of dataFiles.entries())
      await writeFile(join(dirname(path), name), Buffer.concat(contents[i]));
  }
}

/** How an exporter spells things. */
export type Exporter = "dynamo" | "torchscript" | "genai" | "bare";

export const MINI = { dIn: 32, nLayers: 3, vocab: 50, heads: 2, headSize: 16, hidden: 48 } as const;

export interface Miniature {
  readonly builder: GraphBuilder;
  /** tensor after each layer by the generator's own knowledge; null = only inside a fused node */
  readonly residuals: readonly (string | null)[];
}

/**
 * A Llama-like decoder (RMS norm, attention, gated-free MLP; no rotary embedding) in an exporter's spelling.
 * All spellings compute the same function.
 */
export function miniatureLlama(
  exporter: Exporter,
  options: { float?: "float32" | "float16"; knownTypes?: boolean } = {},
): Miniature {
  const g = new GraphBuilder(options);
  const { dIn, nLayers, vocab, heads, headSize, hidden } = MINI;
  const kv = exporter === "genai";
  g.input("input_ids", ELEM.int64, ["batch_size", "sequence_length"]);
  g.input("attention_mask", ELEM.int64, ["batch_size", "total_sequence_length"]);
  for (let layer = 0; kv && layer < nLayers; layer++)
    for (const part of ["key", "value"])
      g.input(`past_key_values.${layer}.${part}`, g.floatType, [
        "batch_size",
        heads,
        "past_sequence_length",
        "kv_cache_dim",
      ]);

  const scopes = (
    layer: number | null,
    module: string,
  ): { name?: string; metadata?: Record<string, string> } => {
    const path = layer === null ? `model.${module}` : `model.layers.${layer}${module ? "." + module : ""}`;
    if (exporter === "torchscript")
      return { name: "/" + path.replace(".layers.", "/layers.").replace(/^model\./, "model/") };
    if (exporter !== "dynamo") return {};
    return {
      metadata: {
        "pkg.torch.onnx.name_scopes": `['', 'model', '${path}', 'op']`,
        namespace: `: x.Model/${path}: x.Module/op: aten.op`,
      },
    };
  };
  const rms = (x: string, weight: string, layer: number | null) => {
    if (exporter === "genai")
      return g.node("SimplifiedLayerNormalization", [x, weight], {
        attributes: { axis: -1, epsilon: { float: 1e-5 }, stash_type: 1 },
      });
    const at = scopes(layer, "norm");
    const square = g.node("Pow", [x, g.scalar(2)], at);
    const mean = g.node("ReduceMean", [square, g.ints(-1)], { ...at, attributes: { keepdims: 1 } });
    const root = g.node("Sqrt", [g.node("Add", [mean, g.scalar(1e-5)], at)], at);
    return g.node("Mul", [g.node("Div", [x, root], at), weight], at);
  };
  const skip = (
    x: string,
    branch: string,
    weight: string,
    name: string,
    last: boolean,
  ): { sum: string | null; normed: string } => {
    const sum = last ? null : `${name}/output_3`;
    const normed = `${name}/output_0`;
    g.node("SkipSimplifiedLayerNormalization", [x, branch, weight], {
      name: `${name}/SkipLayerNorm`,
      domain: "com.microsoft",
      outputs: sum === null ? [normed] : [normed, "", "", sum],
      attributes: { epsilon: { float: 1e-5 } },
    });
    return { sum, normed };
  };
  const normWeight = (name: string) => g.weight(`${name}.weight`, [dIn], 0.1, 1);

  let stream = g.node(
    "Gather",
    [g.weight("embed_tokens.weight", [vocab, dIn], 1), "input_ids"],
    scopes(null, "embed_tokens"),
  );
  const bias = kv ? "" : causalBias(g);
  const lengths = kv ? sequenceLengths(g) : { past: "", total: "" };
  const residuals: (string | null)[] = [];
  let normed = "";
  for (let layer = 0; layer < nLayers; layer++) {
    const w = (part: string, from: number, to: number) =>
      g.weight(`layers.${layer}.${part}`, [from, to], 1 / Math.sqrt(from));
    if (!kv || layer === 0) normed = rms(stream, normWeight(`layers.${layer}.input_layernorm`), layer);
    const q = g.node("MatMul", [normed, w("q", dIn, dIn)], scopes(layer, "attn"));
    const k = g.node("MatMul", [normed, w("k", dIn, dIn)], scopes(layer, "attn"));
    const v = g.node("MatMul", [normed, w("v", dIn, dIn)], scopes(layer, "attn"));
    const mixed = kv
      ? g.node(
          "GroupQueryAttention",
          [
            q,
            k,
            v,
            `past_key_values.${layer}.key`,
            `past_key_values.${layer}.value`,
            lengths.past,
            lengths.total,
          ],
          {
            domain: "com.microsoft",
            outputs: [`attention_${layer}`, `present.${layer}.key`, `present.${layer}.value`],
            attributes: { num_heads: heads, kv_num_heads: heads },
          },
        )
      : attention(g, [q, k, v], bias, { heads, headSize, ...scopes(layer, "attn") });
    const out = g.node("MatMul", [mixed, w("o", dIn, dIn)], scopes(layer, "attn"));
    const mlp = (x: string) => {
      const inner = g.node(
        "Relu",
        [g.node("MatMul", [x, w("up", dIn, hidden)], scopes(layer, "mlp"))],
        scopes(layer, "mlp"),
      );
      return g.node("MatMul", [inner, w("down", hidden, dIn)], scopes(layer, "mlp"));
    };
    const postWeight = normWeight(`layers.${layer}.post_attention_layernorm`);
    if (kv) {
      const mid = skip(stream, out, postWeight, `/model/layers.${layer}/post_attention_layernorm`, false);
      const last = layer === nLayers - 1;
      const nextWeight = last ? normWeight("norm") : normWeight(`layers.${layer + 1}.input_layernorm`);
      const name = last
        ? `/model/layers.${nLayers}/final_norm_layernorm`
        : `/model/layers.${layer + 1}/input_layernorm`;
      const after = skip(mid.sum as string, mlp(mid.normed), nextWeight, name, last);
      residuals.push(after.sum);
      stream = after.sum ?? "";
      normed = after.normed;
      continue;
    }
    const at = scopes(layer, "");
    const named = exporter === "torchscript";
    const mid = g.node("Add", [stream, out], {
      ...at,
      ...(named ? { name: `/model/layers.${layer}/Add`, output: `/model/layers.${layer}/Add_output_0` } : {}),
    });
    const branch = mlp(rms(mid, postWeight, layer));
    stream = g.node("Add", [mid, branch], {
      ...at,
      ...(named
        ? { name: `/model/layers.${layer}/Add_1`, output: `/model/layers.${layer}/Add_1_output_0` }
        : {}),
    });
    residuals.push(stream);
  }
  if (!kv) normed = rms(stream, normWeight("norm"), null);
  g.node("MatMul", [normed, g.weight("lm_head", [dIn, vocab], 0.2)], { output: "logits" });
  g.output("logits", g.floatType, ["batch_size", "sequence_length", vocab]);
  return { builder: g, residuals };
}

/** GPT-2's shape: learned positions added to the embeddings, LayerNorm with bias, names under /transformer/h.N. */
export function miniatureGpt2(): Miniature {
  const g = new GraphBuilder();
  const { dIn, nLayers, vocab, heads, headSize, hidden } = MINI;
  g.input("input_ids", ELEM.int64, ["batch", "sequence"]);
  g.input("attention_mask", ELEM.int64, ["batch", "sequence"]);
  g.input("position_ids", ELEM.int64, ["batch", "sequence"]);
  const tokens = g.node("Gather", [g.weight("wte", [vocab, dIn], 1), "input_ids"], {
    name: "/transformer/wte/Gather",
  });
  const places = g.node("Gather", [g.weight("wpe", [64, dIn], 0.5), "position_ids"], {
    name: "/transformer/wpe/Gather",
  });
  let stream = g.node("Add", [tokens, places], { name: "/transformer/Add" });
  const bias = causalBias(g);
  const norm = (x: string, name: string) =>
    g.node("LayerNormalization", [
      x,
      g.weight(`${name}.weight`, [dIn], 0.1, 1),
      g.weight(`${name}.bias`, [dIn], 0.1),
    ]);
  const residuals: string[] = [];
  for (let layer = 0; layer < nLayers; layer++) {
    const linear = (x: string, part: string, from: number, to: number) =>
      g.node("Add", [
        g.node("MatMul", [x, g.weight(`h.${layer}.${part}`, [from, to], 1 / Math.sqrt(from))]),
        g.weight(`h.${layer}.${part}.bias`, [to], 0.1),
      ]);
    const normed = norm(stream, `h.${layer}.ln_1`);
    const qkv = ["q", "k", "v"].map((part) => linear(normed, part, dIn, dIn));
    const mixed = linear(attention(g, qkv, bias, { heads, headSize }), "o", dIn, dIn);
    const mid = g.node("Add", [mixed, stream], { name: `/transformer/h.${layer}/Add` });
    const inner = g.node("Tanh", [linear(norm(mid, `h.${layer}.ln_2`), "up", dIn, hidden)]);
    stream = g.node("Add", [mid, linear(inner, "down", hidden, dIn)], {
      name: `/transformer/h.${layer}/Add_1`,
    });
    residuals.push(stream);
  }
  g.node("MatMul", [norm(stream, "ln_f"), g.weight("lm_head", [dIn, vocab], 0.2)], { output: "logits" });
  g.output("logits", ELEM.float32, ["batch", "sequence", vocab]);
  return { builder: g, residuals };
}

/** [batch, 1, sequence, sequence]: −10⁴ where a query must not look (later tokens, padding). */
export function causalBias(g: GraphBuilder): string {
  const shape = g.node("Shape", ["attention_mask"]);
  const length = g.node("Slice", [shape, g.ints(1), g.ints(2)]);
  const ones = g.node("Expand", [
    g.scalar(-1e4),
    g.node("Concat", [length, length], { attributes: { axis: 0 } }),
  ]);
  const later = g.node("Trilu", [ones, g.node("Squeeze", [g.ints(1)])], { attributes: { upper: 1 } });
  const mask = g.node("Cast", ["attention_mask"], { attributes: { to: g.floatType } });
  const padding = g.node("Mul", [g.node("Sub", [g.scalar(1), mask]), g.scalar(-1e4)]);
  return g.node("Add", [later, g.node("Unsqueeze", [padding, g.ints(1, 2)])]);
}

/** What GroupQueryAttention wants to know of the mask: real tokens − 1 of each window, and the padded length. */
function sequenceLengths(g: GraphBuilder): { past: string; total: string } {
  const sum = g.node("ReduceSum", ["attention_mask", g.ints(1)], { attributes: { keepdims: 0 } });
  const past = g.node("Cast", [g.node("Sub", [sum, g.ints(1)])], { attributes: { to: ELEM.int32 } });
  const length = g.node("Gather", [g.node("Shape", ["attention_mask"]), g.node("Squeeze", [g.ints(1)])]);
  return { past, total: g.node("Cast", [length], { attributes: { to: ELEM.int32 } }) };
}

/** Softmax attention over heads of q, k, v [batch, sequence, heads · headSize]; k and v may have one head for all. */
export function attention(
  g: GraphBuilder,
  [q, k, v]: readonly string[],
  bias: string,
  at: { heads: number; headSize: number; kvHeads?: number; name?: string; metadata?: Record<string, string> },
): string {
  const { heads, headSize, kvHeads = heads, name, metadata } = at;
  const split = (x: string, count: number) =>
    g.node("Transpose", [g.node("Reshape", [x, g.ints(0, 0, count, headSize)], { name, metadata })], {
      attributes: { perm: [0, 2, 1, 3] },
    });
  return attend(g, split(q, heads), split(k, kvHeads), split(v, kvHeads), bias, heads, headSize);
}

/** q, k, v [batch, heads, sequence, headSize] → [batch, sequence, heads · headSize] */
export function attend(
  g: GraphBuilder,
  q: string,
  k: string,
  v: string,
  bias: string,
  heads: number,
  headSize: number,
): string {
  const turned = g.node("Transpose", [k], { attributes: { perm: [0, 1, 3, 2] } });
  const scores = g.node("Mul", [g.node("MatMul", [q, turned]), g.scalar(1 / Math.sqrt(headSize))]);
  const weights = g.node("Softmax", [g.node("Add", [scores, bias])], { attributes: { axis: -1 } });
  const mixed = g.node("Transpose", [g.node("MatMul", [weights, v])], { attributes: { perm: [0, 2, 1, 3] } });
  return g.node("Reshape", [mixed, g.ints(0, 0, heads * headSize)]);
}
