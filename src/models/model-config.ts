/**
 * What we take from a model's `config.json` (Hugging Face) or `genai_config.json` (ONNX Runtime's model builder):
 * sizes to check the graph against, and the shapes of its key/value cache. The file's spelling ends here.
 */
import { FormatError } from "../errors.ts";
import { readJson } from "../storage/json.ts";

export interface ModelConfig {
  readonly modelType: string | null;
  readonly nLayers: number | null;
  readonly dIn: number | null;
  readonly vocabSize: number | null;
  readonly contextSize: number | null;
  /** [heads, head size] of the keys and values of each layer; Gemma 4 has two kinds of layers. Empty if not stated */
  readonly keyValueHeads: readonly (readonly [number, number])[];
}

export const NO_CONFIG: ModelConfig = {
  modelType: null,
  nLayers: null,
  dIn: null,
  vocabSize: null,
  contextSize: null,
  keyValueHeads: [],
};

type Json = Readonly<Record<string, unknown>>;
const MAX_LAYERS = 10_000;

/** Reads `config.json` or `genai_config.json`. @throws {FormatError} no JSON object, or a size that is none */
export async function readModelConfig(path: string): Promise<ModelConfig> {
  const json = await readJson(path, { maxBytes: 16 * 1024 * 1024 });
  if (!isObject(json)) throw new FormatError(path, "not a JSON object");
  return /genai_config\.json$/.test(path) ? fromGenai(json, path) : fromHuggingFace(json, path);
}

/** Text models keep their sizes at the top, models of several kinds of input under `text_config`. */
function fromHuggingFace(json: Json, file: string): ModelConfig {
  const text = [json["text_config"], json["llm_config"], json["language_config"]].find(isObject) ?? json;
  const size = (...keys: string[]) => firstSize(text, keys, file);
  const nLayers = size("num_hidden_layers", "n_layer", "num_layers");
  const dIn = size("hidden_size", "n_embd", "d_model");
  const heads = size("num_attention_heads", "n_head", "num_heads");
  const kvHeads = size("num_key_value_heads", "num_kv_heads") ?? heads;
  const headSize = size("head_dim") ?? (dIn !== null && heads !== null ? dIn / heads : null);
  const globalSize = size("global_head_dim") ?? headSize;
  const globalKvHeads =
    (text["attention_k_eq_v"] === true ? size("num_global_key_value_heads") : null) ?? kvHeads;
  const types = Array.isArray(text["layer_types"]) ? text["layer_types"] : [];
  const known = kvHeads !== null && headSize !== null && globalSize !== null && globalKvHeads !== null;
  return {
    modelType: [json["model_type"], text["model_type"]].find((type) => typeof type === "string") ?? null,
    nLayers,
    dIn,
    vocabSize: size("vocab_size"),
    contextSize: size("max_position_embeddings", "n_positions", "n_ctx"),
    keyValueHeads: known
      ? Array.from({ length: nLayers ?? 0 }, (_, layer): [number, number] =>
          types[layer] === "full_attention" ? [globalKvHeads, globalSize] : [kvHeads, headSize],
        )
      : [],
  };
}

function fromGenai(json: Json, file: string): ModelConfig {
  const model = isObject(json["model"]) ? json["model"] : {};
  const decoder = isObject(model["decoder"]) ? model["decoder"] : {};
  const nLayers = firstSize(decoder, ["num_hidden_layers"], file);
  const kvHeads = firstSize(decoder, ["num_key_value_heads", "num_attention_heads"], file);
  const headSize = firstSize(decoder, ["head_size"], file);
  return {
    modelType: typeof model["type"] === "string" ? model["type"] : null,
    nLayers,
    dIn: firstSize(decoder, ["hidden_size"], file),
    vocabSize: firstSize(model, ["vocab_size"], file),
    contextSize: firstSize(model, ["context_length"], file),
    keyValueHeads:
      kvHeads !== null && headSize !== null
        ? Array.from({ length: nLayers ?? 0 }, (): [number, number] => [kvHeads, headSize])
        : [],
  };
}

function firstSize(json: Json, keys: readonly string[], file: string): number | null {
  for (const key of keys) {
    const value = json[key];
    if (value === undefined || value === null) continue;
    const limit = /layers?$/.test(key) ? MAX_LAYERS : 2 ** 31;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > limit)
      throw new FormatError(
        file,
        `${key} is ${JSON.stringify(value)?.slice(0, 80)}, expected a whole number from 1`,
      );
    return value;
  }
  return null;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
