/**
 * `lapidary bench index`: a latent index of a made-up SAE on a store on disk, beside encoding the same tokens and nothing else.
 * Neither a model's head nor labels are in it. What grows with the tokens and what with the latents is told apart, since
 * few tokens are measured here.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ActivationStore } from "../activations/activations.ts";
import { type BuildProgress, buildIndex } from "../dashboard/build.ts";
import { planIndex } from "../dashboard/index-plan.ts";
import type { IndexManifest } from "../dashboard/manifest.ts";
import { openIndex } from "../dashboard/open-index.ts";
import { type PageBytes, pageBytes } from "../dashboard/page-bytes.ts";
import { EngineError } from "../errors.ts";
import { storeSource } from "../evals/token-source.ts";
import type { Engine, Selection } from "../kernels/kernels.ts";
import { selectEngine } from "../kernels/select.ts";
import { Philox } from "../random/philox.ts";
import { plainConfig } from "../sae/dialects/config.ts";
import type { Sae } from "../sae/sae.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { type Check, checkCoding } from "./check.ts";
import { chooseSelection } from "./encode.ts";
import { HOOK_NAME, writeStore } from "./made-up-store.ts";
import { peakMemoryBytes, round } from "./measure.ts";
import type { PlantedSae } from "./planted.ts";
import type { BenchSize } from "./sizes.ts";
import { sayBytes, sayNumber, saySize, sayTime } from "./words.ts";
import { openWorkload } from "./workload.ts";

const CHUNKS = 8;
/** Ids as uneven as those of a text. */
const VOCABULARY = 262_144;
const EXAMPLES = { topExamples: 20, examplesPerInterval: 5, tokensBefore: 32, tokensAfter: 31, seed: 0 };
const EXAMPLES_A_LATENT = 45;
const EXAMPLE_TOKENS = 64;

type Stages = Record<BuildProgress["stage"] | "open", Spent>;

/** Wall-clock and processor seconds, all threads together. On a machine shared with others the second tells more. */
interface Spent {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

function clock(): Spent {
  const { user, system } = process.cpuUsage();
  return { seconds: performance.now() / 1000, cpuSeconds: (user + system) / 1e6 };
}

function since(from: Spent, to = clock()): Spent {
  return { seconds: to.seconds - from.seconds, cpuSeconds: to.cpuSeconds - from.cpuSeconds };
}

function rounded({ seconds, cpuSeconds }: Spent): Spent {
  return { seconds: round(seconds), cpuSeconds: round(cpuSeconds) };
}

export async function benchIndex(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 2048, note, threads } = options;
  const coding = await checkCoding(options, false, (engine, x, k) =>
    chooseSelection(engine, x, "threshold", k),
  );
  const workload = await openWorkload(options, { batchTokens, training: false, rescale: false });
  const folder = await mkdtemp(join(tmpdir(), "lapidary-bench-"));
  try {
    const { engine, batch, planted } = workload;
    const selection = await chooseSelection(engine, batch(0), "threshold", size.k);
    const thresholds = selection.kind === "threshold" ? selection.thresholds : new Float32Array(size.dSae);
    const nChunks =
      options.tokens === undefined ? CHUNKS : Math.max(1, Math.round(options.tokens / batchTokens));
    const draw = new Philox(0, "bench/token-ids");
    const store = await writeStore(join(folder, "store"), workload, size, nChunks, (row) =>
      Math.floor(VOCABULARY * draw.uniform(row) ** 4),
    );
    note(`checked; timing ${sayNumber(store.nRows)} tokens`);
    const raw = await encodeOnly(engine, store, selection, batchTokens);
    const { name, numericClass, description } = engine;
    await workload.dispose();

    const { create } = await selectEngine(options.engine);
    const sae = saeOf(planted, size, thresholds);
    const plan = planIndex(
      {
        dIn: size.dIn,
        dOut: size.dIn,
        dSae: size.dSae,
        nTokens: store.nRows,
        l0: size.k,
        hasBase: false,
        examples: EXAMPLES_A_LATENT,
        exampleTokens: EXAMPLE_TOKENS,
        chunkRows: batchTokens,
        ...(threads === undefined ? {} : { threads }),
      },
      Number.MAX_SAFE_INTEGER,
    );
    const dir = join(folder, "index");
    const { manifest, stages, whole } = await timed((onProgress) =>
      buildIndex({
        dir,
        sae,
        saeName: "made up",
        modelName: null,
        sets: [{ tokens: storeSource(store, { chunkRows: batchTokens }), windows: null, sourceOf: null }],
        dataHash: "0".repeat(64),
        textOf: (id) => ` t${id}`,
        base: null,
        training: null,
        lens: null,
        openLabeller: null,
        examples: EXAMPLES,
        budget: plan.budget,
        software: {},
        createEngine: create,
        ...(threads === undefined ? {} : { threads }),
        onProgress,
      }),
    );
    const checks = [coding, await checkStatistics(dir, raw)];
    await store.close();
    return reportOf({
      size,
      batchTokens,
      engine: { name, numericClass, description },
      checks,
      nTokens: store.nRows,
      encoding: raw.spent,
      whole,
      stages,
      plannedBytes: plan.memory.total,
      pages: await pageBytes(dir),
      manifest,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The planted SAE with all its weights, as an index takes it. */
function saeOf(planted: PlantedSae, { dIn, dSae }: BenchSize, threshold: Float32Array): Sae {
  const wEnc = new Float32Array(dSae * dIn);
  const wDec = new Float32Array(dSae * dIn);
  planted.fillRows(0, wEnc, wDec);
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
      hookName: HOOK_NAME,
    }),
    weights: { dIn, dSae, wEnc, wDec, bEnc: planted.bEnc(), bDec: planted.bDec() },
    threshold,
    runnerConfig: null,
  };
}

/** When each stage ended, counted from the end of the one before. */
async function timed(
  build: (onProgress: (progress: BuildProgress) => void) => Promise<IndexManifest>,
): Promise<{ manifest: IndexManifest; stages: Stages; whole: Spent }> {
  const begun = clock();
  const last: Partial<Record<BuildProgress["stage"], Spent>> = {};
  let first: Spent | null = null;
  const manifest = await build(({ stage }) => {
    first ??= clock();
    last[stage] = clock();
  });
  const ends = [
    first ?? begun,
    ...(["encode", "neighbours", "latents", "tables"] as const).map((s) => last[s]!),
  ];
  const [open, encode, neighbours, latents, tables] = ends.map((end, i) =>
    since(i === 0 ? begun : ends[i - 1], end),
  );
  return { manifest, stages: { open, encode, neighbours, latents, tables }, whole: since(begun) };
}

/** Encodes the store's rows one chunk after the other; the clock runs while the engine does. */
async function encodeOnly(
  engine: Engine,
  store: ActivationStore,
  selection: Selection,
  chunkRows: number,
): Promise<{ spent: Spent; count: Float64Array; max: Float32Array }> {
  const count = new Float64Array(engine.config.dSae);
  const max = new Float32Array(engine.config.dSae);
  let spent: Spent = { seconds: 0, cpuSeconds: 0 };
  await engine.encode((await store.rows(0, Math.min(chunkRows, store.nRows))).activations, selection); // warm
  for await (const { activations } of store.stream(chunkRows)) {
    const begun = clock();
    const { latents, values } = await engine.encode(activations, selection);
    const { seconds, cpuSeconds } = since(begun);
    spent = { seconds: spent.seconds + seconds, cpuSeconds: spent.cpuSeconds + cpuSeconds };
    for (let e = 0; e < latents.length; e++) {
      count[latents[e]] += 1;
      max[latents[e]] = Math.max(max[latents[e]], values[e]);
    }
  }
  return { spent, count, max };
}

/** How often each latent fires, and how strongly at most, as encoding alone has it. @throws {EngineError} the index says otherwise */
async function checkStatistics(
  dir: string,
  { count, max }: { readonly count: Float64Array; readonly max: Float32Array },
): Promise<Check> {
  const index = await openIndex(dir);
  try {
    const rows = await index.rows("SELECT latent, n_active, max_act FROM latents ORDER BY latent");
    const wrong = rows.findIndex(
      ({ n_active, max_act }, latent) => n_active !== count[latent] || (max_act ?? 0) !== max[latent],
    );
    if (wrong >= 0 || rows.length !== count.length)
      throw new EngineError(`latent ${wrong} of the index is not what encoding gives: nothing is reported`, {
        hint: "npm test -- test/dashboard says where",
      });
  } finally {
    index.close();
  }
  return {
    what: `counts and maxima of encoding alone, all ${sayNumber(count.length)} latents`,
    relativeError: 0,
  };
}

interface Measured {
  readonly size: BenchSize;
  readonly batchTokens: number;
  readonly engine: Pick<Engine, "name" | "numericClass" | "description">;
  readonly checks: readonly Check[];
  readonly nTokens: number;
  readonly encoding: Spent;
  readonly whole: Spent;
  readonly stages: Stages;
  readonly plannedBytes: number;
  readonly pages: PageBytes;
  readonly manifest: IndexManifest;
}

function reportOf(measured: Measured): BenchReport {
  const { size, batchTokens, engine, checks, nTokens, encoding, whole, stages, plannedBytes, pages } =
    measured;
  const { files } = measured.manifest;
  const indexBytes = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
  const memory = peakMemoryBytes();
  const { seconds } = whole;
  const times = Object.entries(stages).map(([stage, spent]) => `${stage} ${sayTime(spent.seconds)}`);
  const ofEncode = seconds / encoding.seconds;
  const cpuOfEncode = whole.cpuSeconds / encoding.cpuSeconds;
  return {
    figures: {
      bench: "index",
      tokensPerSecond: round(nTokens / seconds),
      size,
      batchTokens,
      engine,
      tokens: nTokens,
      ...rounded(whole),
      stages: Object.fromEntries(Object.entries(stages).map(([stage, spent]) => [stage, rounded(spent)])),
      encoding: { ...rounded(encoding), tokensPerSecond: round(nTokens / encoding.seconds) },
      timesEncode: round(ofEncode),
      cpuTimesEncode: round(cpuOfEncode),
      peakMemoryBytes: memory,
      plannedBytes,
      indexBytes,
      exampleRows: files.examples.nRows,
      pageBytes: { most: pages.most, mean: Math.round(pages.mean), mostOf: pages.mostOf },
      footerBytes: pages.footers,
      checks,
    },
    lines: [
      `index, ${size.name} (${saySize(size)}), ${sayNumber(nTokens)} tokens, ${sayNumber(batchTokens)} a chunk, ${engine.description}`,
      ...checks.map(
        ({ what, relativeError }) => `  checked   against ${what}: ${relativeError.toExponential(1)}`,
      ),
      `  tokens/s  ${sayNumber(nTokens / seconds)}: ${sayTime(seconds)} (${times.join(", ")})`,
      `  encoding  ${sayNumber(nTokens / encoding.seconds)} tokens/s alone: the index takes ${ofEncode.toFixed(2)} times as long, ${cpuOfEncode.toFixed(2)} times the processors' time`,
      `  a page    ${sayKilobytes(pages.most)} at most, ${sayKilobytes(pages.mean)} on average; footers ${sayKilobytes(pages.footers)}, once`,
      `  disk      ${sayBytes(indexBytes)}, ${sayNumber(files.examples.nRows)} examples`,
      `  memory    ${sayBytes(memory)} at most, of this process; planned ${sayBytes(plannedBytes)} without it`,
    ],
    variant: `${size.name}-T${nTokens}${engine.name === "native" ? "" : `-${engine.name}`}`,
  };
}

function sayKilobytes(bytes: number): string {
  return `${sayNumber(Math.round(bytes / 1e3))} kB`;
}
