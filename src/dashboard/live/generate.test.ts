/** Which rows are steered, when a side is over, and what is said of it; with a model that says what it is told to. */
import { describe, expect, it } from "vitest";
import type { SplicedModel } from "../../models/spliced-model.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import type { SteerEvent, SteerRequest } from "../live.ts";
import { type Generator, generate } from "./generate.ts";

const STOP = 9;
const SPECIAL = 8;
const request: SteerRequest = {
  index: "a",
  input: { kind: "text", text: "" },
  interventions: [{ latent: 0, kind: "add", value: 1 }],
  positions: "all",
  nTokens: 4,
  sampling: { temperature: 0, topK: null, seed: 0 },
};

/** Says `plain[i]`, or `steered[i]` where the stream was replaced, after i generated tokens; keeps what rows were moved. */
function scripted(nPrompt: number, plain: number[], steered: number[], contextSize = 100) {
  const moved: number[][] = [];
  const model = {
    run: async ({ tokenIds }: { tokenIds: Uint32Array }) => ({
      logits: async (_rows: Uint32Array, intervention?: object) => {
        const says = (intervention === undefined ? plain : steered)[tokenIds.length - nPrompt];
        return Float32Array.from({ length: 10 }, (_, id) => (id === says ? 1 : 0));
      },
      intervene: async (
        _layers: number[],
        replace: (layer: number, x: Float32Array) => Promise<Float32Array>,
      ) => {
        const stream = await replace(0, new Float32Array(tokenIds.length));
        moved.push(Array.from(stream.keys()).filter((row) => stream[row] !== 0));
        return { id: 1 };
      },
      release: async () => {},
    }),
  } as unknown as SplicedModel;
  const inference = {
    sae: {
      config: { dIn: 1, dSae: 1, normalization: "none", rescaleActsByDecoderNorm: false },
      weights: { wDec: Float32Array.of(1) },
    },
    encode: async (x: Float32Array) => ({
      nTokens: x.length,
      offsets: new Uint32Array(x.length + 1),
      latents: new Uint32Array(0),
      values: new Float32Array(0),
    }),
  } as unknown as InferenceSae;
  const generator = {
    model,
    inference,
    layer: 0,
    vocabulary: { bytesOf: (id: number) => Uint8Array.of(id === 7 ? 0xe2 : 0x61 + id) },
    stopTokens: new Set([STOP]),
    contextSize,
    isKept: (id: number) => id !== SPECIAL,
    batchOf: (ids: readonly number[]) => ({ tokenIds: Uint32Array.from(ids) }),
  } as unknown as Generator;
  return { generator, moved };
}

async function all(generator: Generator, prompt: number[], change: Partial<SteerRequest> = {}) {
  const events: SteerEvent[] = [];
  const signal = new AbortController().signal;
  for await (const event of generate(generator, prompt, { ...request, ...change }, signal))
    events.push(event);
  return events;
}

const ends = (events: SteerEvent[]) =>
  events.flatMap((event) => (event.kind === "end" ? [[event.side, event.why, event.text]] : []));

describe("generate", () => {
  it("takes turns; a stop token ends a side and is not text, the other goes on", async () => {
    const { generator } = scripted(2, [1, STOP], [2, 3, 4, 5]);
    const events = await all(generator, [8, 1]);
    const told = events.flatMap((event) => (event.kind === "token" ? [`${event.side} ${event.text}`] : []));
    expect(told).toEqual(["plain b", "steered c", "steered d", "steered e", "steered f"]);
    expect(ends(events)).toEqual([
      ["plain", "stop", ""],
      ["steered", "length", ""],
    ]);
    expect(events.at(-1)).toMatchObject({ kind: "done", nForwards: 2 + 4 * 2 });
  });

  it("ends when the context is full: what is predicted from all of it is the last token", async () => {
    const { generator } = scripted(2, [1, 1, 1, 1], [1, 1, 7, 1], 4);
    const events = await all(generator, [8, 1]);
    expect(events.filter(({ kind }) => kind === "token").length).toBe(6);
    expect(ends(events)).toEqual([
      ["plain", "context", ""],
      ["steered", "context", "\\xE2"],
    ]);
  });

  it.each([
    ["all", [[1], [1, 2], [1, 2]]],
    ["prompt", [[1], [1], [1]]],
    ["generated", [[], [2], [2]]],
  ] as const)("positions %s: kept ones alone", async (positions, expected) => {
    const { generator, moved } = scripted(2, [1, 1, 1], [3, SPECIAL, 4]);
    await all(generator, [8, 1], { positions, nTokens: 3 });
    expect(moved).toEqual(expected); // rows 0 and 3 hold special tokens
  });
});
