import { expect, it } from "vitest";
import { ModelError } from "../errors.ts";
import { planFeeds } from "./feeds.ts";
import { NO_CONFIG } from "./model-config.ts";
import type { TensorSpec } from "./session-messages.ts";

const BATCH = {
  nWindows: 2,
  seqLen: 3,
  tokenIds: Uint32Array.of(5, 6, 7, 8, 0, 0),
  lengths: Uint32Array.of(3, 1),
};
const TOKENS = ["batch", "sequence"];
const session = (inputs: TensorSpec[], outputs: TensorSpec[] = []) => ({ session: 0, inputs, outputs });
const spec = (name: string, type: string, shape: readonly (number | string)[]): TensorSpec => ({
  name,
  type,
  shape,
});

it("feeds what the sessions declare, in their types", () => {
  const feeds = planFeeds(
    [
      session([
        spec("input_ids", "int64", TOKENS),
        spec("attention_mask", "int32", TOKENS),
        spec("position_ids", "int64", TOKENS),
        spec("token_type_ids", "int64", TOKENS),
        spec("num_logits_to_keep", "int64", []),
        spec("use_cache_branch", "bool", [1]),
        spec("cache_position", "int64", ["sequence"]),
        spec("past_key_values.0.key", "float16", ["batch", 4, "past", 64]),
        spec("past_key_values.1.value", "float32", ["batch", "heads", "past", "size"]),
      ]),
    ],
    {
      ...NO_CONFIG,
      keyValueHeads: [
        [1, 2],
        [8, 32],
      ],
    },
  )(BATCH);
  const shown = Object.fromEntries(
    Object.entries(feeds).map(([name, { type, dims, data }]) => [
      name,
      [type, dims, Array.from(data as unknown as ArrayLike<number | bigint>, Number)],
    ]),
  );
  expect(shown).toEqual({
    input_ids: ["int64", [2, 3], [5, 6, 7, 8, 0, 0]],
    attention_mask: ["int32", [2, 3], [1, 1, 1, 1, 0, 0]],
    position_ids: ["int64", [2, 3], [0, 1, 2, 0, 1, 2]],
    token_type_ids: ["int64", [2, 3], [0, 0, 0, 0, 0, 0]],
    num_logits_to_keep: ["int64", [], [0]],
    use_cache_branch: ["bool", [1], [0]],
    cache_position: ["int64", [3], [0, 1, 2]],
    "past_key_values.0.key": ["float16", [2, 4, 0, 64], []],
    "past_key_values.1.value": ["float32", [2, 8, 0, 32], []],
  });
});

it("leaves to an earlier session what that one gives out", () => {
  const first = session(
    [spec("input_ids", "int64", TOKENS)],
    [spec("inputs_embeds", "float32", [...TOKENS, 4])],
  );
  const second = session([spec("inputs_embeds", "float32", [...TOKENS, 4])]);
  expect(Object.keys(planFeeds([first, second], NO_CONFIG)(BATCH))).toEqual(["input_ids"]);
});

it("names every input that it does not know", () => {
  const plan = () =>
    planFeeds(
      [
        session([
          spec("input_ids", "int64", TOKENS),
          spec("encoder_hidden_states", "float32", ["b", "e", 64]),
          spec("position_ids", "int64", [3, "batch", "sequence"]),
          spec("past_key_values.7.key", "float32", ["batch", "heads", "past", "size"]),
        ]),
      ],
      NO_CONFIG,
    );
  expect(plan).toThrow(ModelError);
  expect(plan).toThrow(
    /encoder_hidden_states \(float32 \[b, e, 64\]\); position_ids \(int64 \[3, batch, sequence\]\); past_key_values\.7\.key/,
  );
});
