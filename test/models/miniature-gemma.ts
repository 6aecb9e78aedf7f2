/**
 * A seeded decoder of Gemma 4's shape: head sizes 32 and 64 by layer type, key/value sharing in the last layers, inputs
 * per layer, a factor at the end of each layer. Written whole (tokens → logits) or in two files, as the hub has it
 * (`embed_tokens` and `decoder_model_merged`); both compute the same function.
 */
import { ELEM } from "../../src/models/onnx-write.ts";
import { attend, causalBias, GraphBuilder } from "./miniature.ts";

export const GEMMA = {
  dIn: 48,
  nLayers: 6,
  nShared: 2,
  vocab: 60,
  heads: 2,
  dPerLayer: 4,
  hidden: 64,
} as const;
export const GEMMA_TYPES = ["sliding", "sliding", "full", "sliding", "sliding", "full"].map(
  (t) => `${t}_attention`,
);
export const GEMMA_CONFIG = {
  model_type: "gemma4",
  text_config: {
    model_type: "gemma4_text",
    num_hidden_layers: GEMMA.nLayers,
    num_kv_shared_layers: GEMMA.nShared,
    hidden_size: GEMMA.dIn,
    vocab_size: GEMMA.vocab,
    num_attention_heads: GEMMA.heads,
    num_key_value_heads: 1,
    head_dim: 32,
    global_head_dim: 64,
    layer_types: GEMMA_TYPES,
    max_position_embeddings: 128,
  },
};

const headSizeOf = (layer: number) => (GEMMA_TYPES[layer] === "full_attention" ? 64 : 32);

function embed(g: GraphBuilder): { embeds: string; perLayer: string } {
  const { dIn, nLayers, vocab, dPerLayer } = GEMMA;
  const gathered = g.node("Gather", [g.weight("embed_tokens", [vocab, dIn], 0.15), "input_ids"]);
  const embeds = g.node("Mul", [gathered, g.scalar(Math.fround(Math.sqrt(dIn)))], {
    output: "inputs_embeds",
  });
  const table = g.weight("embed_tokens_per_layer", [vocab, nLayers * dPerLayer], 1);
  const flat = g.node("Gather", [table, "input_ids"]);
  const perLayer = g.node("Reshape", [flat, g.ints(0, 0, nLayers, dPerLayer)], {
    output: "per_layer_inputs",
  });
  return { embeds, perLayer };
}

/** Adds the decoder; returns the tensor after each layer. `cached` concatenates past keys and values. */
function decoder(g: GraphBuilder, cached: boolean): string[] {
  const { dIn, nLayers, nShared, vocab, heads, dPerLayer, hidden } = GEMMA;
  const norm = (x: string, name: string, size: number = dIn) =>
    g.node("LayerNormalization", [x, g.weight(`${name}.weight`, [size], 0.1, 1)]);
  const linear = (x: string, name: string, from: number, to: number) =>
    g.node("MatMul", [x, g.weight(name, [from, to], 1 / Math.sqrt(from))]);
  const projected = g.node("Reshape", [
    linear("inputs_embeds", "per_layer_model_projection", dIn, nLayers * dPerLayer),
    g.ints(0, 0, nLayers, dPerLayer),
  ]);
  const perLayer = g.node("Add", [
    norm(projected, "per_layer_projection_norm", dPerLayer),
    "per_layer_inputs",
  ]);
  const bias = causalBias(g);
  const shared = new Map<number, [string, string]>();
  const residuals: string[] = [];
  let stream = "inputs_embeds";
  for (let layer = 0; layer < nLayers; layer++) {
    const at = `layers.${layer}`;
    const headSize = headSizeOf(layer);
    const place = g.node("Gather", [g.weight(`${at}.positions`, [128, dIn], 0.3), "position_ids"]);
    const normed = norm(stream, `${at}.input_layernorm`);
    const turned = g.node("Add", [normed, place]);
    const head = (x: string, count: number) =>
      g.node("Transpose", [g.node("Reshape", [x, g.ints(0, 0, count, headSize)])], {
        attributes: { perm: [0, 2, 1, 3] },
      });
    const q = head(linear(turned, `${at}.q`, dIn, heads * headSize), heads);
    let keyValue = shared.get(headSize);
    if (layer < nLayers - nShared) {
      const fresh = [linear(turned, `${at}.k`, dIn, headSize), linear(normed, `${at}.v`, dIn, headSize)];
      const [k, v] = fresh.map((x, i) => {
        const part = i === 0 ? "key" : "value";
        const output = `present.${layer}.${part}`;
        if (!cached) return g.node("Identity", [head(x, 1)], { output });
        return g.node("Concat", [`past_key_values.${layer}.${part}`, head(x, 1)], {
          output,
          attributes: { axis: 2 },
        });
      });
      keyValue = [k, v];
      shared.set(headSize, keyValue);
    }
    const [k, v] = keyValue as [string, string];
    const mixed = linear(attend(g, q, k, v, bias, heads, headSize), `${at}.o`, heads * headSize, dIn);
    const afterAttention = g.node("Add", [stream, norm(mixed, `${at}.post_attention_layernorm`)]);
    const inner = g.node("Tanh", [
      linear(norm(afterAttention, `${at}.pre_feedforward`), `${at}.up`, dIn, hidden),
    ]);
    const fed = norm(linear(inner, `${at}.down`, hidden, dIn), `${at}.post_feedforward`);
    const afterMlp = g.node("Add", [afterAttention, fed]);
    const gate = g.node("Sigmoid", [linear(afterMlp, `${at}.gate`, dIn, dPerLayer)]);
    const own = g.node("Gather", [perLayer, g.node("Squeeze", [g.ints(layer)])], { attributes: { axis: 2 } });
    const added = norm(
      linear(g.node("Mul", [gate, own]), `${at}.back`, dPerLayer, dIn),
      `${at}.post_per_layer`,
    );
    const sum = g.node("Add", [afterMlp, added]);
    stream = g.node("Mul", [sum, g.floats(`${at}.layer_scalar`, [1], Float32Array.of(0.7))], {
      name: `/model/layers.${layer}/layer_scalar/Mul`,
      output: `/model/layers.${layer}/layer_scalar/Mul/output_0`,
    });
    residuals.push(stream);
  }
  g.node("MatMul", [norm(stream, "norm"), g.weight("lm_head", [dIn, vocab], 0.2)], { output: "logits" });
  return residuals;
}

const TOKENS = ["batch_size", "sequence_length"] as const;

/** Tokens → logits in one graph without cache; the residual streams are outputs as well. */
export function wholeGemma(): { builder: GraphBuilder; residuals: string[] } {
  const g = new GraphBuilder();
  for (const name of ["input_ids", "attention_mask", "position_ids"]) g.input(name, ELEM.int64, TOKENS);
  embed(g);
  const residuals = decoder(g, false);
  g.output("logits", ELEM.float32, [...TOKENS, GEMMA.vocab]);
  for (const name of residuals) g.output(name, ELEM.float32, [...TOKENS, GEMMA.dIn]);
  return { builder: g, residuals };
}

/** The two files. With `symbolicCache`, head sizes of the cache stand in the configuration only. */
export function twoFileGemma(symbolicCache: boolean): { embed: GraphBuilder; decoder: GraphBuilder } {
  const { dIn, nLayers, nShared, vocab, dPerLayer } = GEMMA;
  const first = new GraphBuilder();
  first.input("input_ids", ELEM.int64, TOKENS);
  embed(first);
  first.output("inputs_embeds", ELEM.float32, [...TOKENS, dIn]);
  first.output("per_layer_inputs", ELEM.float32, [...TOKENS, nLayers, dPerLayer]);

  const second = new GraphBuilder();
  second.input("inputs_embeds", ELEM.float32, [...TOKENS, dIn]);
  second.input("per_layer_inputs", ELEM.float32, [...TOKENS, nLayers, dPerLayer]);
  second.input("attention_mask", ELEM.int64, ["batch_size", "total_sequence_length"]);
  second.input("position_ids", ELEM.int64, TOKENS);
  second.input("num_logits_to_keep", ELEM.int64, []);
  for (let layer = 0; layer < nLayers - nShared; layer++)
    for (const part of ["key", "value"])
      second.input(`past_key_values.${layer}.${part}`, ELEM.float32, [
        "batch_size",
        1,
        "past_sequence_length",
        symbolicCache ? "kv_cache_dim" : headSizeOf(layer),
      ]);
  decoder(second, true);
  second.output("logits", ELEM.float32, [...TOKENS, vocab]);
  return { embed: first, decoder: second };
}
