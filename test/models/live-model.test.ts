/** tiny-gemma, live: tokens and latents as the evaluation sees them, and text that is the whole graph's own until it is steered. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTokenizerFolder } from "../../src/corpus/tokenizer-folder.ts";
import { LiveModel } from "../../src/dashboard/live/live-model.ts";
import type { LiveInput, SteerEvent, SteerRequest } from "../../src/dashboard/live.ts";
import { selectEngine } from "../../src/kernels/select.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import { runGraphs } from "./running.ts";

const folder = resolve("assets/tiny-gemma/it");
const VOCAB = 4096;
const CONTEXT = 48;
const text: LiveInput = { kind: "text", text: "The lapidary cut the stone" };
const chat: LiveInput = { kind: "chat", messages: [{ role: "user", content: "Tell me about the sea." }] };
const NEVER = new AbortController().signal;

let live: LiveModel;
let bos: number;
beforeAll(async () => {
  const { facts } = await readTokenizerFolder(folder);
  bos = facts.bosTokenId!;
  live = new LiveModel({
    folder,
    indexes: [2, 4].map((layer) => ({
      id: `layer-${layer}`,
      layer,
      contextSize: CONTEXT,
      prependBos: true,
      excludedTokenIds: facts.specialTokenIds,
      load: () => loadSae(`assets/tiny-gemma/sae-base/layer_${layer}`),
    })),
    createEngine: (await selectEngine()).create,
    threads: 1,
    modelThreads: 2,
  });
});
afterAll(() => live.close());

const request = (change: Partial<SteerRequest> = {}): SteerRequest => ({
  index: "layer-4",
  input: text,
  interventions: [],
  positions: "all",
  nTokens: 4,
  sampling: { temperature: 0, topK: null, seed: 0 },
  ...change,
});

async function steer(change: Partial<SteerRequest> = {}, signal = NEVER) {
  const events: SteerEvent[] = [];
  for await (const event of live.steer(request(change), signal)) events.push(event);
  const side = (name: "plain" | "steered") => ({
    ids: events.flatMap((event) => (event.kind === "token" && event.side === name ? [event.id] : [])),
    why: events.flatMap((event) => (event.kind === "end" && event.side === name ? [event.why] : []))[0],
  });
  return { plain: side("plain"), steered: side("steered"), done: events.at(-1) };
}

/** The latent that is strongest over a text's tokens. */
async function strongestLatent(): Promise<{ latent: number; act: number }> {
  const { tokens } = await live.encode({ index: "layer-4", input: text }, NEVER);
  const all = tokens.flatMap(({ latents, acts }) => latents.map((latent, i) => ({ latent, act: acts[i] })));
  return all.reduce((best, each) => (each.act > best.act ? each : best));
}

describe("encode", () => {
  it("gives each kept token the latents and the error that the SAE has there", async () => {
    const { tokens, truncated } = await live.encode({ index: "layer-4", input: text }, NEVER);
    expect(truncated).toBe(false);
    expect(tokens.map((token) => token.text).join("")).toBe("<bos>The lapidary cut the stone");
    expect(tokens[0]).toEqual({
      id: bos,
      text: "<bos>",
      role: "template",
      kept: false,
      latents: [],
      acts: [],
      squaredNorm: null,
      squaredError: null,
    });
    const model = await openResidualModel(folder, { layers: [4], threads: 2 });
    const ids = Uint32Array.from(tokens, ({ id }) => id);
    const [x] = await model.run({
      nWindows: 1,
      seqLen: ids.length,
      tokenIds: ids,
      lengths: Uint32Array.of(ids.length),
    });
    await model.close();
    const inference = await openInference(
      await loadSae("assets/tiny-gemma/sae-base/layer_4"),
      (await selectEngine()).create,
    );
    const { acts, recon } = await inference.reconstruct(x);
    await inference.dispose();
    for (let t = 1; t < tokens.length; t++) {
      const { latents, acts: values, squaredError, squaredNorm, role } = tokens[t];
      expect(role).toBe("text");
      const [from, to] = [acts.offsets[t], acts.offsets[t + 1]];
      expect(latents.length).toBe(to - from);
      expect([...values]).toEqual([...values].sort((a, b) => b - a));
      const known = new Map(
        Array.from(acts.latents.subarray(from, to), (l, i) => [l, acts.values[from + i]]),
      );
      latents.forEach((latent, i) => {
        expect(values[i]).toBeCloseTo(known.get(latent)!, 3);
      });
      const at = Array.from({ length: 256 }, (_, j) => t * 256 + j);
      const error = at.reduce((sum, i) => sum + (x[i] - recon[i]) ** 2, 0);
      expect(squaredError! / error).toBeCloseTo(1, 4);
      expect(squaredNorm! / at.reduce((sum, i) => sum + x[i] ** 2, 0)).toBeCloseTo(1, 4);
    }
  });

  it("a chat has its roles, and its special tokens are not encoded", async () => {
    const { tokens } = await live.encode({ index: "layer-2", input: chat }, NEVER);
    expect(
      tokens
        .filter(({ role }) => role === "user")
        .map((token) => token.text)
        .join(""),
    ).toBe("Tell me about the sea.");
    expect(tokens.filter(({ text }) => text.startsWith("<")).map(({ kept }) => kept)).toEqual([
      false,
      false,
      false,
    ]);
    expect(tokens.map((token) => token.text).join("")).not.toContain("model");
  });

  it("leaves out what is beyond the context, and says so", async () => {
    const long: LiveInput = { kind: "text", text: "stone ".repeat(200) };
    const { tokens, truncated } = await live.encode({ index: "layer-4", input: long }, NEVER);
    expect([tokens.length, truncated]).toEqual([CONTEXT, true]);
    await expect(steer({ input: long })).rejects.toThrow(/longer than the context of 48 tokens/);
  });

  it("refuses an index that it does not have", async () => {
    await expect(live.encode({ index: "layer-6", input: text }, NEVER)).rejects.toThrow(/there|no index/);
  });
});

describe("steer", () => {
  it("greedy and unsteered: the argmax of the whole graph's logits, token by token; both sides the same", async () => {
    const { plain, steered, done } = await steer();
    const bytes = new Uint8Array(await readFile(`${folder}/model.onnx`));
    const { tokens } = await live.encode({ index: "layer-4", input: text }, NEVER);
    const ids = tokens.map(({ id }) => id);
    const expected: number[] = [];
    for (let step = 0; step < 4; step++) {
      const all = [...ids, ...expected];
      const batch = {
        nWindows: 1,
        seqLen: all.length,
        tokenIds: Uint32Array.from(all),
        lengths: Uint32Array.of(all.length),
      };
      const [logits] = await runGraphs([{ bytes, folder }], batch, ["logits"]);
      const last = logits.subarray((all.length - 1) * VOCAB);
      expected.push(last.indexOf(Math.max(...last)));
    }
    expect(plain).toEqual({ ids: expected, why: "length" });
    expect(steered).toEqual(plain);
    expect(done).toMatchObject({ kind: "done", nForwards: 12 });
  });

  it("a factor of 1 changes nothing; ablating, and clamping far off, do, and only where they are told to", async () => {
    const { latent, act } = await strongestLatent();
    const scaled = await steer({ interventions: [{ latent, kind: "scale", value: 1 }] });
    expect(scaled.steered).toEqual(scaled.plain);
    const clamp = [{ latent, kind: "clamp", value: 40 * act }] as const;
    const everywhere = await steer({ interventions: clamp });
    expect(everywhere.plain).toEqual(scaled.plain);
    expect(everywhere.steered.ids[0]).not.toBe(everywhere.plain.ids[0]);
    const generated = await steer({ interventions: clamp, positions: "generated" });
    expect(generated.steered.ids[0]).toBe(generated.plain.ids[0]); // nothing was generated before it
    expect(generated.steered.ids.slice(1)).not.toEqual(generated.plain.ids.slice(1));
    const prompt = await steer({ interventions: clamp, positions: "prompt" });
    expect(prompt.steered.ids[0]).toBe(everywhere.steered.ids[0]);
  });

  it("with a seed: the same again, another seed another text, and unsteered sides alike", async () => {
    const sampling = { temperature: 1.5, topK: 50, seed: 7 };
    const first = await steer({ sampling, input: chat });
    expect(first.steered).toEqual(first.plain);
    expect(await steer({ sampling, input: chat })).toMatchObject({ plain: first.plain });
    const other = await steer({ sampling: { ...sampling, seed: 8 }, input: chat });
    expect(other.plain.ids).not.toEqual(first.plain.ids);
  });

  it("stops when it is told to, between two tokens", async () => {
    const controller = new AbortController();
    const events: SteerEvent[] = [];
    const stopped = (async () => {
      for await (const event of live.steer(request({ nTokens: 200 }), controller.signal)) {
        events.push(event);
        if (events.length === 3) controller.abort();
      }
    })();
    await expect(stopped).rejects.toThrow(/abort/i);
    expect(events.length).toBe(3);
  });
});
