/**
 * Plain and steered text side by side, a token of each in turn. Nothing is kept between tokens: the whole context runs
 * again for each, as the splice evaluation runs it, which is plain and exact, and fine for small models.
 */
import type { Vocabulary } from "../../corpus/vocabulary.ts";
import type { TokenBatch } from "../../models/residual-model.ts";
import type { SplicedModel } from "../../models/spliced-model.ts";
import { Philox } from "../../random/philox.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import type { SteerEvent, SteerRequest } from "../live.ts";
import { GeneratedText } from "./generated-text.ts";
import { nextToken } from "./sampling.ts";
import { steerRows } from "./steering.ts";

/** What generates, and by which rules. */
export interface Generator {
  readonly model: SplicedModel;
  readonly inference: InferenceSae;
  readonly layer: number;
  readonly vocabulary: Vocabulary;
  readonly stopTokens: ReadonlySet<number>;
  /** tokens that the model is given, at most */
  readonly contextSize: number;
  /** is the SAE run at a position with this token? */
  isKept(id: number): boolean;
  batchOf(ids: readonly number[]): TokenBatch;
}

type Side = "plain" | "steered";

/**
 * Both sides draw their i-th token with the same random number, so that without interventions they are the same text.
 * `nForwards` counts runs of the model, or of its part above the steered layer.
 * @throws {ShapeError | ModelError} no such latent, or the model failed  @throws the signal's reason when aborted
 */
export async function* generate(
  generator: Generator,
  prompt: readonly number[],
  request: SteerRequest,
  signal: AbortSignal,
): AsyncGenerator<SteerEvent> {
  const start = performance.now();
  const random = new Philox(request.sampling.seed, "steer");
  const sides = (["plain", "steered"] as const).map((side) => ({
    side,
    ids: [...prompt],
    text: new GeneratedText(generator.vocabulary),
    isOver: false,
  }));
  let nForwards = 0;
  for (let step = 0; step < request.nTokens && sides.some(({ isOver }) => !isOver); step++)
    for (const state of sides) {
      if (state.isOver) continue;
      const { side, ids, text } = state;
      signal.throwIfAborted();
      const { logits, nRuns } = await predict(generator, side, ids, prompt.length, request);
      nForwards += nRuns;
      const id = nextToken(logits, request.sampling, random, step);
      const stops = generator.stopTokens.has(id);
      if (!stops) {
        ids.push(id);
        yield { kind: "token", side, id, text: text.add(id) };
      }
      const isLast = step === request.nTokens - 1;
      const isFull = ids.length > generator.contextSize;
      if (!stops && !isLast && !isFull) continue;
      state.isOver = true;
      yield { kind: "end", side, why: stops ? "stop" : isLast ? "length" : "context", text: text.end() };
    }
  yield { kind: "done", seconds: (performance.now() - start) / 1000, nForwards };
}

/** Logits of the token that comes after `ids`: [vocab]. */
async function predict(
  { model, inference, layer, isKept, batchOf }: Generator,
  side: Side,
  ids: readonly number[],
  nPrompt: number,
  { interventions, positions }: SteerRequest,
): Promise<{ logits: Float32Array; nRuns: number }> {
  const [from, to] = positions === "generated" ? [nPrompt, ids.length] : [0, ids.length];
  const end = positions === "prompt" ? nPrompt : to;
  const rows = Array.from(ids.keys()).filter((row) => row >= from && row < end && isKept(ids[row]));
  const run = await model.run(batchOf(ids));
  try {
    const last = Uint32Array.of(ids.length - 1);
    if (side === "plain") return { logits: await run.logits(last), nRuns: 1 };
    const steered = await run.intervene([layer], async (_layer, stream) => {
      await steerRows(inference, stream, rows, interventions);
      return stream;
    });
    return { logits: await run.logits(last, steered), nRuns: 2 };
  } finally {
    await run.release().catch(() => {}); // where its thread has ended there is nothing to release
  }
}
