/**
 * `lapidary bench evaluate`: a whole evaluation of a store on disk, with slices, outliers and intervals, beside encoding the
 * same tokens and nothing else. The two take turns, so that a machine that slows down slows both. Not in it: the hash of
 * the weights, taken once an SAE.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../errors.ts";
import { type EvaluateOptions, evaluate, evaluateRows } from "../evals/evaluate.ts";
import { TOKEN_CLASSES } from "../evals/token-classes.ts";
import type { Reconstructor } from "../evals/token-source.ts";
import type { Engine, Selection } from "../kernels/kernels.ts";
import { plainConfig } from "../sae/dialects/config.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { type Check, checkCoding } from "./check.ts";
import { chooseSelection } from "./encode.ts";
import { DOCUMENT_TOKENS, HOOK_NAME, SET, writeStore } from "./made-up-store.ts";
import { peakMemoryBytes, round, type Timing, timeTurns, timingOf } from "./measure.ts";
import type { BenchSize } from "./sizes.ts";
import { sayBytes, sayNumber, saySize, sayTime } from "./words.ts";
import { openWorkload } from "./workload.ts";

const CHUNKS = 8;
const CHECKED_TOKENS = 256;
/** Between two fp64 sums of the same tokens. */
const TOLERANCE = 1e-9;
/** As the evaluations of a run. */
const OPTIONS: EvaluateOptions = {
  otherPrograms: { batchTokens: 4096 },
  labels: {
    sourceOf: (document) => ["prose", "chat", "code"][document % 3],
    classOf: (id) => TOKEN_CLASSES[id % TOKEN_CLASSES.length],
  },
};

export async function benchEvaluate(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 2048, seconds, note } = options;
  const slice = await checkCoding(options, false, (engine, x, k) =>
    chooseSelection(engine, x, "threshold", k),
  );
  const workload = await openWorkload(options, { batchTokens, training: false, rescale: false });
  const folder = await mkdtemp(join(tmpdir(), "lapidary-bench-"));
  try {
    const { engine, batch } = workload;
    const selection = await chooseSelection(engine, batch(0), "threshold", size.k);
    const sae = reconstructor(engine, size, selection);
    const checks = [slice, await checkMetrics(sae, batch(0), size.dIn)];
    const nChunks =
      options.tokens === undefined ? CHUNKS : Math.max(1, Math.round(options.tokens / batchTokens));
    const store = await writeStore(join(folder, "store"), workload, size, nChunks);
    note(`checked; timing ${sayNumber(store.nRows)} tokens`);
    const encodes: number[] = [];
    const encodeAll = async () => {
      const start = performance.now();
      for (let i = 0; i < nChunks; i++) await engine.encode(batch(i), selection);
      encodes.push((performance.now() - start) / 1000);
    };
    const evaluations = await timeTurns(() => evaluate(sae, store, { ...OPTIONS, chunkRows: batchTokens }), {
      warmUp: 1,
      seconds,
      after: encodeAll,
    });
    await store.close();
    return reportOf({
      size,
      batchTokens,
      engine,
      checks,
      nTokens: store.nRows,
      evaluations,
      encodes: timingOf(encodes),
    });
  } finally {
    await workload.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The engine as evaluation sees it. Its weights are in it already, so the SAE beside it has none. */
function reconstructor(engine: Engine, { dIn, dSae }: BenchSize, selection: Selection): Reconstructor {
  const none = new Float32Array(0);
  return {
    sae: {
      config: plainConfig({
        architecture: "jumprelu",
        dIn,
        dSae,
        dtype: "float32",
        applyBDecToInput: true,
        hookName: HOOK_NAME,
      }),
      weights: { dIn, dSae, wEnc: none, wDec: none, bEnc: none, bDec: none },
      threshold: none,
      runnerConfig: null,
    },
    async reconstruct(x) {
      const acts = await engine.encode(x, selection);
      return { acts, recon: await engine.decode(acts) };
    },
  };
}

/** VE and MSE of a few tokens against plain sums in two passes. @throws {EngineError} they differ */
async function checkMetrics(sae: Reconstructor, batch: Float32Array, dIn: number): Promise<Check> {
  const n = Math.min(CHECKED_TOKENS, batch.length / dIn);
  const x = batch.slice(0, n * dIn);
  const { metrics } = (await evaluateRows(sae, { activations: x, dIn, set: SET, hookName: HOOK_NAME }))
    .result;
  const { recon } = await sae.reconstruct(x);
  const mean = new Float64Array(dIn);
  for (let i = 0; i < x.length; i++) mean[i % dIn] += x[i] / n;
  let [sse, scatter] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    sse += (x[i] - recon[i]) ** 2;
    scatter += (x[i] - mean[i % dIn]) ** 2;
  }
  const ve = 1 - sse / scatter;
  const relativeError = Math.max(
    Math.abs(metrics.mse.value - sse / n) / (sse / n),
    Math.abs(metrics.ve.value - ve) / Math.abs(ve),
  );
  if (!(relativeError <= TOLERANCE))
    throw new EngineError(`VE and MSE are off by ${relativeError.toExponential(1)}: nothing is timed`, {
      hint: "npm test -- src/evals says where",
    });
  return { what: `plain sums, on ${n} tokens`, relativeError: Number(relativeError.toPrecision(2)) };
}

interface Measured {
  readonly size: BenchSize;
  readonly batchTokens: number;
  readonly engine: Engine;
  readonly checks: readonly Check[];
  readonly nTokens: number;
  readonly evaluations: Timing;
  readonly encodes: Timing;
}

function reportOf({
  size,
  batchTokens,
  engine,
  checks,
  nTokens,
  evaluations,
  encodes,
}: Measured): BenchReport {
  const [rate, best] = [nTokens / evaluations.medianSeconds, nTokens / evaluations.bestSeconds];
  const encodeRate = nTokens / encodes.medianSeconds;
  const memory = peakMemoryBytes();
  const nTurns = evaluations.turns.length;
  return {
    figures: {
      bench: "evaluate",
      tokensPerSecond: round(rate),
      bestTokensPerSecond: round(best),
      size,
      batchTokens,
      engine: { name: engine.name, numericClass: engine.numericClass, description: engine.description },
      turns: nTurns,
      seconds: { median: round(evaluations.medianSeconds), best: round(evaluations.bestSeconds) },
      tokens: nTokens,
      documents: Math.ceil(nTokens / DOCUMENT_TOKENS),
      encodeTokensPerSecond: round(encodeRate),
      ofEncode: round(rate / encodeRate),
      peakMemoryBytes: memory,
      checks,
    },
    lines: [
      `evaluate, ${size.name} (${saySize(size)}), ${sayNumber(nTokens)} tokens, ${sayNumber(batchTokens)} a chunk, ${engine.description}`,
      ...checks.map(
        ({ what, relativeError }) => `  checked   against ${what}: ${relativeError.toExponential(1)}`,
      ),
      `  tokens/s  ${sayNumber(rate)} (best ${sayNumber(best)}): ${sayTime(evaluations.medianSeconds)}, median of ${nTurns}`,
      `  encoding  ${sayNumber(encodeRate)} tokens/s alone: the evaluation runs at ${Math.round((100 * rate) / encodeRate)} % of that`,
      `  memory    ${sayBytes(memory)} at most, of this process`,
    ],
    variant: `${size.name}-B${batchTokens}${engine.name === "native" ? "" : `-${engine.name}`}`,
  };
}
