/**
 * What a language model's declared inputs are fed with for a rectangle of token windows: ids, mask, positions, an empty
 * key/value cache. Padding is on the right and masked. Inputs are known by name; one that is not known is an error.
 */
import { ModelError } from "../errors.ts";
import type { ModelConfig } from "./model-config.ts";
import type { TokenBatch } from "./residual-model.ts";
import type { LoadedSession, TensorData, TensorSpec } from "./session-messages.ts";

export type Feeds = (batch: TokenBatch) => Record<string, TensorData>;
type Feed = (batch: TokenBatch) => TensorData;

/**
 * Plans the feeds of sessions that run in order; what an earlier session gives out need not be fed.
 * @throws {ModelError} an input that we do not know; lists all of them
 */
export function planFeeds(sessions: readonly LoadedSession[], config: ModelConfig): Feeds {
  const feeds = new Map<string, Feed>();
  const given = new Set<string>();
  const unknown: string[] = [];
  for (const session of sessions) {
    for (const spec of session.inputs) {
      if (given.has(spec.name) || feeds.has(spec.name)) continue;
      const feed = feedOf(spec, config);
      if (feed !== null) feeds.set(spec.name, feed);
      else unknown.push(`${spec.name} (${spec.type} [${spec.shape.join(", ")}])`);
    }
    for (const output of session.outputs) given.add(output.name);
  }
  if (unknown.length > 0)
    throw new ModelError(
      `the model wants inputs that Lapidary does not know how to feed: ${unknown.join("; ")}`,
      {
        hint: "Only text-in decoder exports are understood; see docs/MODELS.md.",
      },
    );
  return (batch) => Object.fromEntries([...feeds].map(([name, feed]) => [name, feed(batch)]));
}

function feedOf(spec: TensorSpec, config: ModelConfig): Feed | null {
  const { name, type, shape } = spec;
  const perToken = (value: (batch: TokenBatch, window: number, position: number) => number): Feed | null =>
    shape.length !== 2
      ? null
      : (batch) =>
          tensorOf(type, [batch.nWindows, batch.seqLen], (i) =>
            value(batch, Math.floor(i / batch.seqLen), i % batch.seqLen),
          );
  switch (name) {
    case "input_ids":
      return perToken((batch, window, position) => batch.tokenIds[window * batch.seqLen + position]);
    case "attention_mask":
      return perToken((batch, window, position) => (position < batch.lengths[window] ? 1 : 0));
    case "position_ids":
      return perToken((_batch, _window, position) => position);
    case "token_type_ids":
      return perToken(() => 0);
    case "cache_position":
      return shape.length !== 1 ? null : (batch) => tensorOf(type, [batch.seqLen], (i) => i);
    case "num_logits_to_keep": // 0 keeps them all
    case "use_cache_branch":
      return shape.length > 1 ? null : () => tensorOf(type, shape.length === 0 ? [] : [1], () => 0);
    case "total_sequence_length":
      return shape.length > 1
        ? null
        : (batch) => tensorOf(type, shape.length === 0 ? [] : [1], () => batch.seqLen);
    default:
      return /past.*(key|value)/.test(name) ? emptyCache(spec, config) : null;
  }
}

/** [nWindows, heads, 0, head size]; the graph's own sizes before the configuration's. */
function emptyCache({ name, type, shape }: TensorSpec, config: ModelConfig): Feed | null {
  const layer = Number(/\d+/.exec(name)?.[0] ?? -1);
  const [heads, headSize] = [shape[1], shape[3]].map((size, i) =>
    typeof size === "number" && size > 0 ? size : config.keyValueHeads[layer]?.[i],
  );
  if (shape.length !== 4 || heads === undefined || headSize === undefined) return null;
  return (batch) => tensorOf(type, [batch.nWindows, heads, 0, headSize], () => 0);
}

/** @throws {ModelError} an element type that no known input has */
function tensorOf(type: string, dims: readonly number[], value: (i: number) => number): TensorData {
  const length = dims.reduce((product, size) => product * size, 1);
  const index = { length };
  const number = (_: unknown, i: number) => value(i);
  switch (type) {
    case "int64":
      return { type, dims, data: BigInt64Array.from(index as ArrayLike<bigint>, (_, i) => BigInt(value(i))) };
    case "int32":
      return { type, dims, data: Int32Array.from(index as ArrayLike<number>, number) };
    case "bool":
      return { type, dims, data: Uint8Array.from(index as ArrayLike<number>, number) };
    case "float32":
      return { type, dims, data: Float32Array.from(index as ArrayLike<number>, number) };
    case "float16": // masks of 0 and 1, and empty caches
      return {
        type,
        dims,
        data: Uint16Array.from(index as ArrayLike<number>, (_, i) => (value(i) === 0 ? 0 : 0x3c00)),
      };
    default:
      throw new ModelError(`an input of element type ${type}, which no known input has`);
  }
}
