/**
 * Time a recipe would take here, from a short measured forward and a short measured step. Where the model is not on this
 * machine its forward is derived from the engine's measured arithmetic rate and the recipe's `parameters`; every figure
 * says which it is. Estimates to plan with, not promises: they assume nothing else runs.
 */
import type { EngineFactory } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { RunContext } from "./context.ts";
import type { StagePlan } from "./plan.ts";
import { isHubId } from "./recipe/file.ts";

export interface StageTime {
  readonly stage: string;
  readonly part?: string;
  readonly seconds: number | null;
  /** "measured", "scaled from a smaller step", "derived from …", or why there is none */
  readonly basis: string;
}

/** Latents and tokens of the measured step at most; larger SAEs are scaled, the step being linear in both for the same share of activations. */
const MEASURED_LATENTS = 4096;
const MEASURED_TOKENS = 1024;

export async function estimateTimes(
  context: RunContext,
  plans: readonly StagePlan[],
  sizes: { dIn: number | null; dSae: number | null },
): Promise<StageTime[]> {
  const engine = await context.engine();
  const rates =
    sizes.dIn === null || sizes.dSae === null
      ? null
      : await measureEngine(engine.create, sizes.dIn, sizes.dSae, context);
  const isImported = context.recipe.activations.import !== null;
  const forward = isImported ? null : await measureForward(context, rates?.flopsPerSecond ?? null);
  const timeOf = ({ stage, tokens, diskBytes }: StagePlan): Pick<StageTime, "seconds" | "basis"> => {
    if (stage === "corpus")
      return { seconds: tokens / 60_000, basis: "about 60 000 tokens/s for the tokenizer" };
    if (stage === "harvest" && forward === null)
      return { seconds: diskBytes && diskBytes / 200e6, basis: "dumps read at about 200 MB/s" };
    if (stage === "harvest" || stage === "splice")
      return {
        seconds: forward?.tokensPerSecond ? tokens / forward.tokensPerSecond : null,
        basis: forward?.basis ?? "",
      };
    if (rates === null) return { seconds: null, basis: "sizes of the SAE are not known yet" };
    const rate =
      stage === "train" || stage === "polish" ? rates.trainTokensPerSecond : rates.encodeTokensPerSecond;
    return { seconds: tokens / rate, basis: rates.basis };
  };
  return plans.map((plan) => ({ stage: plan.stage, part: plan.part, ...timeOf(plan) }));
}

async function measureEngine(create: EngineFactory, dIn: number, dSae: number, context: RunContext) {
  const latents = Math.min(dSae, MEASURED_LATENTS);
  const nTokens = Math.min(context.recipe.train.batchTokens, MEASURED_TOKENS);
  const k = Math.min(context.recipe.train.k ?? 32, dSae / 4) * (latents / dSae);
  const draw = new Philox(0, "estimate");
  const noise = Float32Array.from({ length: 65_521 }, (_, i) => draw.normal(i)); // a prime: rows differ
  const gaussian = (n: number, scale: number) =>
    new Float32Array(n).map((_, i) => noise[i % noise.length] * scale);
  const wDec = gaussian(latents * dIn, 1 / Math.sqrt(dIn));
  const weights = {
    dIn,
    dSae: latents,
    wEnc: wDec.slice(),
    wDec,
    bEnc: new Float32Array(latents),
    bDec: new Float32Array(dIn),
  };
  const config = {
    dIn,
    dSae: latents,
    widths: [latents],
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: true,
    training: true,
    threads: context.options.threads,
  };
  const engine = await create(config, weights);
  const x = gaussian(nTokens * dIn, 1);
  const selection = { kind: "batch-topk", k } as const;
  const step = () =>
    engine.trainStep(x, {
      selection,
      learningRate: 1e-4,
      adamStep: 1,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      clipNorm: 1,
      aux: null,
    });
  await step();
  const trainSeconds = await secondsOf(step);
  const encode = () => engine.encode(x, selection);
  const encodeSeconds = await secondsOf(encode);
  await engine.setScreening({ margin: "none" }); // a language model's products are dense
  const denseSeconds = await secondsOf(encode);
  await engine.dispose();
  const scale = latents / dSae;
  return {
    trainTokensPerSecond: (nTokens / trainSeconds) * scale,
    encodeTokensPerSecond: (nTokens / encodeSeconds) * scale,
    flopsPerSecond: (2 * nTokens * dIn * latents) / denseSeconds,
    basis: scale === 1 ? "measured step" : `measured step at ${latents} latents, scaled`,
  };
}

async function measureForward(
  context: RunContext,
  flopsPerSecond: number | null,
): Promise<{ tokensPerSecond: number | null; basis: string }> {
  const { model, contextSize } = context.recipe;
  if (isHubId(model.source)) {
    if (model.parameters === null || flopsPerSecond === null)
      return { tokensPerSecond: null, basis: "the model is not on this machine" };
    const rate = flopsPerSecond / (2 * model.parameters);
    return {
      tokensPerSecond: rate,
      basis: `derived: ${model.parameters / 1e9} G parameters at the engine's ${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s (the model is not here)`,
    };
  }
  const opened = await context.openModel("model");
  const vocabulary = opened.info.vocabSize ?? 1000;
  const draw = new Philox(0, "estimate/tokens");
  const nWindows = opened.info.dynamicQuantization ? 1 : Math.max(1, Math.floor(2048 / contextSize));
  const tokenIds = Uint32Array.from({ length: nWindows * contextSize }, (_, i) => draw.u32(i) % vocabulary);
  const batch = {
    nWindows,
    seqLen: contextSize,
    tokenIds,
    lengths: new Uint32Array(nWindows).fill(contextSize),
  };
  await opened.run(batch);
  const seconds = await secondsOf(() => opened.run(batch));
  await context.closeModels();
  return { tokensPerSecond: tokenIds.length / seconds, basis: "measured forward" };
}

/** Median of three. */
async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    await work();
    times.push((performance.now() - start) / 1000);
  }
  return times.sort((a, b) => a - b)[1];
}
