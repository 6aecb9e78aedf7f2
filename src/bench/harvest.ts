/**
 * `lapidary bench harvest`: made-up windows through the lower part of a model into stores on disk, as a run does it; once
 * with all windows full, once with windows of mixed lengths. Rates depend on sizes, hardly on which tokens they are. The
 * share in ONNX Runtime is what overlapping is about: at 100 % the model would never wait for us.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import type { WindowBatch, WindowSet } from "../corpus/windows.ts";
import { DataError } from "../errors.ts";
import { type HarvestTimes, harvest } from "../harvest/harvest.ts";
import { harvestWindows } from "../harvest/harvest-windows.ts";
import { planHarvest } from "../harvest/plan.ts";
import { inspectModel } from "../models/inspect.ts";
import { openResidualModel } from "../models/open-model.ts";
import type { ResidualModel } from "../models/residual-model.ts";
import { canonicalHookName } from "../sae/hook-name.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import type { Check } from "./check.ts";
import { madeUpWindows, windowRange } from "./made-up-windows.ts";
import { median, peakMemoryBytes, round, timeTurns } from "./measure.ts";
import { sayBytes, sayNumber, sayShare, sayTime } from "./words.ts";

const EMBEDDED = fileURLToPath(new URL("../../assets/tiny-gemma/it", import.meta.url));
const CONTEXT_SIZE = 256;
/** Ids are drawn below this where the model does not say how many it knows. */
const VOCABULARY = 1000;
const CHECKED_WINDOWS = 4;
/** A store in bf16 is as far from its model's f32 as rounding takes it: 2^-9 an entry at most. */
const TOLERANCE = 2 ** -8;

/** @throws {ModelError} the model cannot be opened, or has no such layer  @throws {DataError} a store is not what the model says */
export async function benchHarvest(options: BenchOptions): Promise<BenchReport> {
  const { model: dir = EMBEDDED, threads, seconds, note } = options;
  const nLayers = (await inspectModel(dir)).residual?.nLayers ?? 1;
  const layers = options.layers ?? [1, 2, 3].map((quarter) => Math.floor((nLayers * quarter) / 4));
  const model = await openResidualModel(dir, { layers, threads });
  const folder = await mkdtemp(join(tmpdir(), "lapidary-bench-"));
  try {
    const rate = await rateAlone(model);
    const tokens = options.tokens ?? Math.ceil(rate * seconds);
    const full = await measure(model, { tokens, seconds, folder, mixedLengths: false });
    note("windows of one length done; now mixed lengths");
    const mixed = await measure(model, { tokens, seconds, folder, mixedLengths: true });
    return reportOf(dir, model, full, mixed);
  } finally {
    await model.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Measured {
  readonly tokensPerSecond: number;
  readonly bestTokensPerSecond: number;
  /** a harvest's real tokens, and what padding adds */
  readonly tokens: number;
  readonly paddingTokens: number;
  readonly harvests: number;
  /** of the wall time; the median of the harvests */
  readonly shareInRuntime: number;
  /** medians; they overlap, so they do not add up to `wall` */
  readonly seconds: HarvestTimes;
  readonly longestPauseSeconds: number;
  readonly check: Check;
}

async function measure(
  model: ResidualModel,
  options: { tokens: number; seconds: number; folder: string; mixedLengths: boolean },
): Promise<Measured> {
  const { folder, mixedLengths } = options;
  const windows = madeUpWindows({
    tokens: options.tokens,
    contextSize: CONTEXT_SIZE,
    mixedLengths,
    vocabulary: model.info.vocabSize ?? VOCABULARY,
  });
  const counted = countTokens(model);
  const times: HarvestTimes[] = [];
  const storesOf = (turn: number) => join(folder, `${mixedLengths ? "mixed" : "full"}-${turn}`);
  const pauses = monitorEventLoopDelay({ resolution: 1 });
  pauses.enable();
  const timing = await timeTurns(
    async (turn) => times.push(await harvestOnce(counted, windows, storesOf(turn), mixedLengths)),
    { warmUp: 0, seconds: options.seconds },
  );
  pauses.disable();
  const check = await checkStore(model, windows.all, join(storesOf(0), String(model.layers[0])));
  const { nTokens } = windows.manifest;
  const medianOf = (value: (harvested: HarvestTimes) => number) => round(median(times.map(value)));
  return {
    tokensPerSecond: round(nTokens / timing.medianSeconds),
    bestTokensPerSecond: round(nTokens / timing.bestSeconds),
    tokens: nTokens,
    paddingTokens: counted.tokens / times.length - nTokens,
    harvests: times.length,
    shareInRuntime: medianOf((harvested) => harvested.model / harvested.wall),
    seconds: {
      wall: medianOf(({ wall }) => wall),
      model: medianOf((harvested) => harvested.model),
      reading: medianOf(({ reading }) => reading),
      placing: medianOf(({ placing }) => placing),
      writing: medianOf(({ writing }) => writing),
    },
    longestPauseSeconds: round(pauses.max / 1e9),
    check,
  };
}

async function harvestOnce(
  model: ResidualModel,
  windows: WindowSet,
  folder: string,
  mixedLengths: boolean,
): Promise<HarvestTimes> {
  const { dIn, dynamicQuantization } = model.info;
  const plan = planHarvest({
    contextSize: CONTEXT_SIZE,
    dIn,
    nLayers: model.layers.length,
    oneByOne: dynamicQuantization,
    mixedLengths,
  });
  const opening = model.layers.map((layer) =>
    openWriter(join(folder, String(layer)), {
      dtype: "bf16",
      dIn,
      hookName: canonicalHookName(layer),
      set: "bench",
      provenance: {},
    }),
  );
  return harvest({ model, windows, writers: await Promise.all(opening), plan });
}

/** The same model, with the tokens it is given counted, padding included. */
function countTokens(model: ResidualModel): ResidualModel & { tokens: number } {
  return {
    tokens: 0,
    info: model.info,
    layers: model.layers,
    get runSeconds() {
      return model.runSeconds;
    },
    run(batch) {
      this.tokens += batch.tokenIds.length;
      return model.run(batch);
    },
    close: () => model.close(),
  };
}

/** Tokens a second of the model alone, roughly: the best of a few windows, the first of which warms it up. */
async function rateAlone(model: ResidualModel): Promise<number> {
  const vocabulary = model.info.vocabSize ?? VOCABULARY;
  const { all } = madeUpWindows({ tokens: 1, contextSize: CONTEXT_SIZE, mixedLengths: false, vocabulary });
  const window = { nWindows: 1, seqLen: CONTEXT_SIZE, tokenIds: all.tokenIds, lengths: all.lengths };
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 4; i++) {
    const before = model.runSeconds;
    await model.run(window);
    least = Math.min(least, model.runSeconds - before);
  }
  return CONTEXT_SIZE / least;
}

/** The first windows' rows of a store, against what the model makes of each window alone. @throws {DataError} */
async function checkStore(model: ResidualModel, windows: WindowBatch, dir: string): Promise<Check> {
  const nWindows = Math.min(CHECKED_WINDOWS, windows.nWindows);
  const [{ activations, nRows }] = await harvestWindows(model, windowRange(windows, 0, nWindows), 1);
  const store = await openActivationStore(dir);
  const stored = (await store.rows(0, nRows)).activations;
  await store.close();
  let [difference, length] = [0, 0];
  for (const [i, value] of activations.entries()) {
    difference += (stored[i] - value) ** 2;
    length += value ** 2;
  }
  const relativeError = Number(Math.sqrt(difference / length).toPrecision(2));
  if (!(relativeError <= TOLERANCE))
    throw new DataError(`stored activations are off by ${relativeError}: their figures would mean nothing`, {
      hint: "npm test -- src/harvest test/models says where",
    });
  return { what: `${nWindows} windows run one by one, in f32`, relativeError };
}

function reportOf(dir: string, model: ResidualModel, full: Measured, mixed: Measured): BenchReport {
  const { modelType, dIn, nLayers, files, device, threads, runtime } = model.info;
  const name = dir === EMBEDDED ? "tiny-gemma it" : basename(dir);
  const memory = peakMemoryBytes();
  return {
    figures: {
      bench: "harvest",
      tokensPerSecond: full.tokensPerSecond,
      bestTokensPerSecond: full.bestTokensPerSecond,
      shareInRuntime: full.shareInRuntime,
      model: { name, modelType, dIn, nLayers, files },
      layers: model.layers,
      contextSize: CONTEXT_SIZE,
      dtype: "bf16",
      device,
      threads,
      runtime,
      full,
      mixed,
      peakMemoryBytes: memory,
    },
    lines: [
      `harvest, ${name}, layers ${model.layers.join(", ")} of ${nLayers}, windows of ${CONTEXT_SIZE} tokens, ${runtime}, ${threads} thread${threads === 1 ? "" : "s"}`,
      `  checked   against ${full.check.what}: ${full.check.relativeError}`,
      ...linesOf("full", full),
      ...linesOf(`mixed lengths, ${sayShare(mixed.paddingTokens / mixed.tokens)} padding`, mixed),
      `  memory    ${sayBytes(memory)} at most`,
    ],
    variant: `${name.replace(/[^A-Za-z0-9.]+/g, "-")}-layers-${model.layers.join("-")}`,
  };
}

function linesOf(windows: string, measured: Measured): string[] {
  const { seconds } = measured;
  return [
    `  windows   ${windows}: ${sayNumber(measured.tokensPerSecond)} tokens/s (best ${sayNumber(measured.bestTokensPerSecond)}), ${measured.harvests} harvests of ${sayNumber(measured.tokens)} tokens`,
    `            ${(100 * measured.shareInRuntime).toFixed(1)} % of ${sayTime(seconds.wall)} in ONNX Runtime; beside it reading ${sayTime(seconds.reading)}, placing ${sayTime(seconds.placing)}, writing ${sayTime(seconds.writing)}`,
    `            the event loop paused for ${sayTime(measured.longestPauseSeconds)} at most`,
  ];
}
