/**
 * Before a bench boasts, it proves. A slice of the same data, full width, few latents and tokens, gives the same with the
 * reference engine; and what is selected at full size is held against dot products in double precision.
 */
import { EngineError } from "../errors.ts";
import type {
  DenseArchitecture,
  Engine,
  SizeSelection,
  SparseActs,
  TrainStepOptions,
} from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { selectEngine } from "../kernels/select.ts";
import type { BenchOptions } from "./bench.ts";
import { PlantedSae } from "./planted.ts";
import { openEngine, plantedBatch, type WorkloadKind } from "./workload.ts";

/** What was compared, beside the figures. */
export interface Check {
  readonly what: string;
  /** the largest relative difference found */
  readonly relativeError: number;
}

/** Few enough for a second or two, and enough for an engine to work as it does at full size. */
const SLICE_LATENTS = 512;
const SLICE_TOKENS = 128;
const SLICE_STEPS = 2;
/** Between fp32 sums and f64 sums of one slice. */
const TOLERANCE = 1e-4;

/** Latents and tokens of a full-size result that are computed again. */
const SAMPLE_LATENTS = 256;
const SAMPLE_TOKENS = 6;
/** Of an fp32 dot product, relative to the product of the norms. */
const ROUNDING = 2e-6;

/**
 * Two training steps on a slice, by both engines: losses, weights, first moments.
 * @throws {EngineError} they differ by more than rounding
 */
export async function checkTraining(
  options: BenchOptions,
  stepOptions: (step: number, planted: PlantedSae) => TrainStepOptions,
  dense?: DenseSlice,
): Promise<Check> {
  const kind = { training: true, rescale: dense === undefined, architecture: dense?.architecture };
  return onSlices(options, kind, async ({ ours, reference, planted, batch }) => {
    for (const engine of [ours, reference]) await dense?.settle(engine, await batch(0), planted.size.k);
    const errors: number[] = [];
    for (let step = 0; step < SLICE_STEPS; step++) {
      const x = await batch(step);
      const [a, b] = [
        await ours.trainStep(x, stepOptions(step, planted)),
        await reference.trainStep(x, stepOptions(step, planted)),
      ];
      errors.push(Math.abs(a.loss - b.loss) / b.loss);
    }
    const { dSae } = planted.size;
    for (const tensor of ["wEnc", "wDec", "m.wEnc", "m.wDec"] as const)
      errors.push(distance(await ours.read(tensor, 0, dSae), await reference.read(tensor, 0, dSae)));
    return Math.max(...errors);
  });
}

/** Of an architecture whose latents fire by themselves: how about k of a token's are made to. */
export interface DenseSlice {
  readonly architecture: DenseArchitecture;
  readonly settle: (engine: Engine, x: Float32Array, k: number) => Promise<void>;
}

/** Encodes a slice and decodes the result, by both engines. @throws {EngineError} they differ by more than rounding */
export async function checkCoding(
  options: BenchOptions,
  rescale: boolean,
  selectionOf: (engine: Engine, x: Float32Array, k: number) => Promise<SizeSelection>,
): Promise<Check> {
  return onSlices(options, { training: false, rescale }, async ({ ours, reference, planted, batch }) => {
    const x = await batch(0);
    const selection = await selectionOf(reference, x, planted.size.k);
    const acts = [await ours.encode(x, selection), await reference.encode(x, selection)];
    const dense = acts.map((a) => denseOf(a, planted.size.dSae));
    const decoded = [await ours.decode(acts[1]), await reference.decode(acts[1])];
    return Math.max(distance(dense[0], dense[1]), distance(decoded[0], decoded[1]));
  });
}

interface Slices {
  readonly ours: Engine;
  readonly reference: Engine;
  readonly planted: PlantedSae;
  batch(i: number): Promise<Float32Array>;
}

async function onSlices(
  { size, engine, threads, screening, dead }: BenchOptions,
  kind: WorkloadKind,
  compare: (slices: Slices) => Promise<number>,
): Promise<Check> {
  const dSae = Math.min(size.dSae, SLICE_LATENTS);
  const k = Math.max(1, Math.min(size.k, Math.floor(dSae / 16)));
  const widths = [...new Set([Math.ceil(dSae / 4), dSae])];
  const planted = new PlantedSae({ name: "slice", dIn: size.dIn, dSae, k, widths }, { deadPercent: dead });
  const { create } = await selectEngine(engine);
  const ours = await openEngine(create, planted, { ...kind, threads, screening });
  const reference = await openEngine(createReferenceEngine, planted, kind);
  try {
    const relativeError = await compare({
      ours,
      reference,
      planted,
      batch: (i) => plantedBatch(reference, planted, i, SLICE_TOKENS),
    });
    if (!(relativeError <= TOLERANCE))
      throw new EngineError(
        `the ${ours.name} engine and the reference engine differ by ${relativeError.toExponential(1)}: nothing is timed`,
        { hint: "npm test -- test/parity says where" },
      );
    const what = `the reference engine, on ${SLICE_TOKENS} tokens and ${dSae} latents`;
    return { what, relativeError: Number(relativeError.toPrecision(2)) };
  } finally {
    await ours.dispose();
    await reference.dispose();
  }
}

/**
 * Holds `acts`, what `engine` made of `x` at full size, against double precision: for a few tokens, the latents selected for
 * them and a sample of all others. Values must agree; what was selected must lie above the cut and what was not, below it, but
 * for ties within fp32 rounding.
 * @throws {EngineError} a value or a choice is wrong
 */
export async function checkSelection(
  engine: Engine,
  x: Float32Array,
  acts: SparseActs,
  selection: SizeSelection,
): Promise<Check> {
  const { dIn, dSae } = engine.config;
  const bDec = await engine.read("bDec", 0, dIn);
  const stride = Math.max(1, Math.floor(acts.nTokens / SAMPLE_TOKENS));
  const tokens = Array.from({ length: Math.min(SAMPLE_TOKENS, acts.nTokens) }, (_, i) => i * stride);
  const codes = tokens.map((token) => codeOf(acts, token));
  const sample = new Set(codes.flatMap((code) => [...code.keys()]));
  for (let i = 0; i < SAMPLE_LATENTS; i++) sample.add(Math.floor(((i + 0.5) * dSae) / SAMPLE_LATENTS));

  const smallest = acts.values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const isFull =
    selection.kind === "batch-topk" && acts.values.length === Math.floor(selection.k * acts.nTokens);
  const cutOf = (latent: number, code: ReadonlyMap<number, number>): number => {
    if (selection.kind === "threshold") return Math.max(0, selection.thresholds[latent]);
    if (selection.kind === "batch-topk") return isFull ? smallest : 0;
    return code.size === selection.k ? Math.min(...code.values()) : 0;
  };

  let worst = 0;
  for (const latent of sample) {
    const pre = await preActivation(engine, latent);
    for (const [i, token] of tokens.entries()) {
      const { value, magnitude } = pre(x.subarray(token * dIn, (token + 1) * dIn), bDec);
      const got = codes[i].get(latent);
      const above = value - cutOf(latent, codes[i]);
      const error = got === undefined ? above : Math.max(Math.abs(got - value), -above);
      worst = Math.max(worst, error / magnitude);
    }
  }
  if (!(worst <= ROUNDING))
    throw new EngineError(
      `a selection of the ${engine.name} engine is off by ${worst.toExponential(1)} of ‖x‖·‖w‖: nothing is timed`,
      { hint: "npm test -- test/parity says where" },
    );
  const what = `double precision, on ${tokens.length} tokens and ${sample.size} latents at full size`;
  return { what, relativeError: Number(worst.toPrecision(2)) };
}

/** p of one latent in double precision, as a function of a token; `magnitude` is the product of the norms. */
async function preActivation(engine: Engine, latent: number) {
  const row = (tensor: "wEnc" | "wDec" | "bEnc") => engine.read(tensor, latent, latent + 1);
  const [w, decoder, [bias]] = [await row("wEnc"), await row("wDec"), await row("bEnc")];
  const norm = engine.config.rescaleActsByDecoderNorm ? Math.hypot(...decoder) : 1;
  return (x: Float32Array, bDec: Float32Array) => {
    let [sum, xx, ww] = [0, 0, 0];
    for (let j = 0; j < w.length; j++) {
      const c = engine.config.applyBDecToInput ? Math.fround(x[j] - bDec[j]) : x[j];
      sum += c * w[j];
      xx += c * c;
      ww += w[j] * w[j];
    }
    return { value: (sum + bias) * norm, magnitude: (Math.sqrt(xx * ww) + Math.abs(bias)) * norm };
  };
}

/** The latents of a token and their values. */
function codeOf({ offsets, latents, values }: SparseActs, token: number): Map<number, number> {
  const code = new Map<number, number>();
  for (let e = offsets[token]; e < offsets[token + 1]; e++) code.set(latents[e], values[e]);
  return code;
}

function denseOf({ nTokens, offsets, latents, values }: SparseActs, dSae: number): Float32Array {
  const dense = new Float32Array(nTokens * dSae);
  for (let token = 0; token < nTokens; token++)
    for (let e = offsets[token]; e < offsets[token + 1]; e++) dense[token * dSae + latents[e]] = values[e];
  return dense;
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: Float32Array, b: Float32Array): number {
  let [difference, length] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    length += b[i] ** 2;
  }
  return Math.sqrt(difference / length);
}
