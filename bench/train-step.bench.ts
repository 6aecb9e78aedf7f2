/**
 * The native training step: tokens per second, and how far its dense product (nearly all of the arithmetic) is from
 * the fp32 FMA peak that this machine shows in the same minute. Beside it the reference engine at a small size.
 * The data is random: rates depend on sizes, hardly on values. Run: `npm run bench -- train-step`.
 */
import type { Engine, EngineConfig, TrainStepOptions, Weights } from "../src/kernels/kernels.ts";
import { cpuFeatures, createNativeEngine, measurePeak, type StepProfile } from "../src/kernels/native.ts";
import { createReferenceEngine } from "../src/kernels/reference/engine.ts";
import { Philox } from "../src/random/philox.ts";
import { median, quick, report, round, say } from "./report.ts";

interface Size {
  readonly d: number;
  readonly F: number;
  readonly k: number;
  readonly B: number;
}

const small: Size = { d: 64, F: 1024, k: 16, B: 256 };
const sizes: readonly Size[] = quick
  ? [{ d: 64, F: 512, k: 8, B: 128 }]
  : [
      { d: 256, F: 4096, k: 32, B: 1024 },
      { d: 768, F: 16384, k: 64, B: 1024 },
    ];
/** Steps before timing: the first finds the batch-topk cut without a guess. */
const WARM_UP = 3;
const SECONDS = quick ? 0.2 : 6;

async function main(): Promise<void> {
  try {
    cpuFeatures();
  } catch (error) {
    say(`train-step: skipped, ${String(error)}`);
    return report("train-step", { skipped: String(error) });
  }
  const error = await checkAgainstReference();
  say(`three steps agree with the reference engine: largest relative difference ${error.toExponential(1)}`);
  const results: unknown[] = [];
  for (const size of sizes) results.push(await measure(size));
  report("train-step", { check: { relativeError: error }, results, baseline: await compareWithReference() });
}

/** Losses and moved weights of three small steps, both engines. @throws if they differ */
async function checkAgainstReference(): Promise<number> {
  const size: Size = { d: 48, F: 300, k: 6.5, B: 64 };
  const [native, reference] = await Promise.all([
    createNativeEngine(configFor(size), randomWeights(size)),
    createReferenceEngine(configFor(size), randomWeights(size)),
  ]);
  let worst = 0;
  for (let step = 0; step < 3; step++) {
    const x = randomBatch(size, step);
    const [a, b] = [
      await native.trainStep(x, options(size, step)),
      await reference.trainStep(x, options(size, step)),
    ];
    worst = Math.max(worst, Math.abs(a.loss - b.loss) / b.loss);
  }
  for (const name of ["wEnc", "wDec", "m.wEnc", "m.wDec"] as const) {
    const [a, b] = [await native.read(name, 0, size.F), await reference.read(name, 0, size.F)];
    const difference = Math.hypot(...a.map((value, i) => value - b[i]));
    worst = Math.max(worst, difference / Math.hypot(...b));
  }
  await native.dispose();
  if (!(worst < 1e-5)) throw new Error(`the engines disagree by ${worst}: nothing to time`);
  return worst;
}

async function measure(size: Size): Promise<unknown> {
  const engine = await createNativeEngine(configFor(size), randomWeights(size));
  const batches = [0, 1, 2, 3].map((i) => randomBatch(size, i));
  const peaks = [await measurePeak()];
  const seconds: number[] = [];
  const phases: StepProfile[] = [];
  const start = performance.now();
  for (let step = 0; seconds.length < 5 || performance.now() - start < SECONDS * 1000; step++) {
    const before = performance.now();
    await engine.trainStep(batches[step % batches.length], options(size, step));
    if (step < WARM_UP) continue;
    seconds.push((performance.now() - before) / 1000);
    phases.push(engine.profile());
  }
  peaks.push(await measurePeak());
  await engine.dispose();

  const peak = Math.max(...peaks);
  const gflop = (2 * size.B * size.d * size.F) / 1e9;
  const phase = (name: keyof StepProfile) => median(phases.map((p) => p[name]));
  const step = median(seconds);
  const result = {
    ...size,
    engine: engine.description,
    steps: seconds.length,
    tokensPerSecond: { median: round(size.B / step), best: round(size.B / Math.min(...seconds)) },
    stepMs: { median: round(step * 1e3), best: round(Math.min(...seconds) * 1e3) },
    peakGflops: round(peak),
    encodeGflops: round(gflop / phase("encode")),
    shareOfPeak: {
      encode: round(gflop / phase("encode") / peak),
      bestEncode: round(gflop / Math.min(...phases.map((p) => p.encode)) / peak),
      wholeStep: round(gflop / step / peak),
    },
    phasesMs: Object.fromEntries(
      (["encode", "reconstruct", "gradients", "update"] as const).map((name) => [
        name,
        round(phase(name) * 1e3),
      ]),
    ),
  };
  say(
    `d ${size.d}, F ${size.F}, k ${size.k}, B ${size.B}: ${result.tokensPerSecond.median} tokens/s ` +
      `(best ${result.tokensPerSecond.best}); encode ${result.encodeGflops} of ${result.peakGflops} GFLOP/s`,
  );
  return result;
}

async function compareWithReference(): Promise<unknown> {
  const rate = async (engine: Engine): Promise<number> => {
    const seconds: number[] = [];
    for (let step = 0; step < (quick ? 2 : 5); step++) {
      const x = randomBatch(small, step);
      const before = performance.now();
      await engine.trainStep(x, options(small, step));
      if (step > 0) seconds.push((performance.now() - before) / 1000);
    }
    await engine.dispose();
    return small.B / median(seconds);
  };
  const native = await rate(await createNativeEngine(configFor(small), randomWeights(small)));
  const reference = await rate(await createReferenceEngine(configFor(small), randomWeights(small)));
  say(`d ${small.d}, F ${small.F}: ${Math.round(native / reference)} times the reference engine`);
  return {
    ...small,
    name: "reference engine (plain TypeScript, f64 sums, one thread)",
    tokensPerSecond: { native: round(native), reference: round(reference) },
    ratio: round(native / reference),
  };
}

function configFor({ d, F }: Size): EngineConfig {
  return {
    dIn: d,
    dSae: F,
    widths: [F >> 4, F >> 2, F],
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: true,
    training: true,
  };
}

function options({ k }: Size, step: number): TrainStepOptions {
  return {
    selection: { kind: "batch-topk", k },
    learningRate: 1e-4,
    adamStep: step + 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    aux: null,
  };
}

function randomWeights({ d, F }: Size): Weights {
  const wDec = uniform(d * F, "wDec", 1 / Math.sqrt(d));
  return { dIn: d, dSae: F, wEnc: wDec.slice(), wDec, bEnc: new Float32Array(F), bDec: new Float32Array(d) };
}

function randomBatch({ d, B }: Size, i: number): Float32Array {
  return uniform(B * d, `x ${i}`, 1);
}

function uniform(n: number, purpose: string, scale: number): Float32Array {
  const stream = new Philox(1, purpose);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = (stream.u32(i) / 2 ** 31 - 1) * scale;
  return out;
}

await main();
