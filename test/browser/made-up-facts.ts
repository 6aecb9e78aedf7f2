/**
 * Facts of a run that never was, for tests of the report: plausible numbers from a seed, and everything that can go wrong
 * in one: outliers that a norm screen does not see, a VE below zero, a rollback, tokens that are markup, names that are long.
 */
import type { EvalResult, OutlierSummary, SliceGroup, WorstToken } from "../../src/evals/result.ts";
import type { SpliceMetrics } from "../../src/evals/splice/result.ts";
import { Philox } from "../../src/random/philox.ts";
import type {
  LatentMovement,
  LayerFacts,
  Measurement,
  Phase,
  ReportFacts,
  SpliceFacts,
  TrainingEvent,
  TrainingFacts,
} from "../../src/report/facts.ts";
import type { MetricsLine } from "../../src/train/metrics.ts";

/** Text that does harm where it is not escaped. */
export const HOSTILE = `</td><script>alert("x")</script><img src=x onerror='alert(1)'>&amp;\u202e\u0007`;

const SETS = [
  { name: "prose", isDomain: false },
  { name: "chat", isDomain: false },
  { name: "a-domain-with-a-long-name", isDomain: true },
];

/** VE by phase at the first layer; deeper layers fit worse. */
const VE: Readonly<Record<Phase, number>> = { home: 0.86, before: 0.42, prepolish: 0.88, after: 0.89 };

export function madeUpFacts(
  changes: Partial<ReportFacts> = {},
  layers: readonly number[] = [2, 17, 29],
): ReportFacts {
  return {
    title: "SAEs for a made-up model",
    run: "made-up",
    model: "somebody/a-model-4-e4b-it",
    baseModel: "somebody/a-model-4-e4b",
    source: "somebody/saes/layer_{layer}",
    gate: 0.75,
    isImported: false,
    sets: SETS.map(({ name }) => ({ name, sources: [`data/${name}.jsonl`] })),
    layers: layers.map(madeUpLayer),
    splices: [...layers.map((layer) => [layer]), layers].flatMap((spliced) =>
      (["before", "after"] as const).map((phase) => madeUpSplice(phase, spliced)),
    ),
    provenance: {
      recipe: `name: made-up\nseed: 0\nmodel:\n  source: ${HOSTILE}\n`,
      files: [{ what: "evals/blocks.2.hook_resid_post.after.json", sha256: "ab".repeat(32) }],
      software: { lapidary: "0.1.0", node: "20.20.2" },
      machine: { processor: "a processor, 2 cores" },
      seeds: [{ what: "training", seed: 0 }],
    },
    ...changes,
  };
}

function madeUpLayer(layer: number): LayerFacts {
  return {
    layer,
    hookName: `blocks.${layer}.hook_resid_post`,
    measurements: (["home", "before", "prepolish", "after"] as const).flatMap((phase) =>
      SETS.map((set) => madeUpMeasurement(layer, phase, set)),
    ),
    deadInTraining: 100 * layer,
    trainings: [madeUpTraining(layer)],
    movement: madeUpMovement(layer),
    calibration: {
      chosen: "ema",
      nTokens: 16_384,
      average: { threshold: 1.2, l0: 31.2 },
      calibrated: { threshold: 1.17, l0: 32 },
    },
  };
}

function madeUpMeasurement(
  layer: number,
  phase: Phase,
  { name, isDomain }: (typeof SETS)[number],
): Measurement {
  // the deepest layer's source SAE is worse than the mean
  const ve = phase === "before" && layer > 20 ? -1.7 : VE[phase] - 0.002 * layer - (isDomain ? 0.05 : 0);
  const definition = "Made up for a test.";
  const metric = (value: number, spread: number | null) => ({
    value,
    definition,
    unit: "1",
    n: 20_000,
    interval: spread === null ? null : { low: value - spread, high: value + spread },
  });
  const metrics = {
    ve: metric(ve, 0.02),
    l0: metric(phase === "before" ? 24.1 : 38.2, 0.6),
    mse: metric(300 * (1 - ve), 5),
    cosine: metric(0.9, null),
    l2Ratio: metric(phase === "before" ? 0.91 : 0.98, null),
  } as unknown as EvalResult["metrics"];
  return {
    phase,
    set: name,
    isDomain,
    change:
      phase === "after" ? { a: ve - 0.4, b: ve, difference: 0.4, interval: { low: 0.37, high: 0.43 } } : null,
    result: {
      format: "lapidary-eval",
      set: name,
      hookName: `blocks.${layer}.hook_resid_post`,
      sae: {
        hash: phase === "home" || phase === "before" ? "aa".repeat(32) : phase.padEnd(64, "f"),
        architecture: "jumprelu",
        dIn: 2560,
        dSae: 65_536,
        hookName: null,
        modelName: null,
      },
      store: { hash: "cd".repeat(32), nRows: 20_000 },
      nTokens: 20_000,
      nDocuments: 80,
      intervals: {
        definition: "Percentile bootstrap over documents.",
        level: 0.95,
        replicates: 1000,
        seed: 0,
      },
      metrics,
      latents: {
        nLatents: 65_536,
        nNeverFired: phase === "before" ? 21_000 : 9_000,
        ultraRare: { below: 0.001, nLatents: 5000 },
        nAbove1Percent: 3000,
        nAbove10Percent: 200,
        definition,
        frequencyHistogram: madeUpHistogram(phase),
      },
      threshold: { definition, min: 0.9, median: 1, mean: 1.01, max: 1.2 },
      outliers: madeUpOutliers(phase, ve),
      slices: madeUpSlices(ve),
    },
  };
}

function madeUpHistogram(phase: Phase) {
  const centre = phase === "before" ? 28 : 30;
  const counts = Array.from({ length: 40 }, (_, bin) =>
    bin < 23 ? 0 : Math.round(9000 * Math.exp(-(((bin - centre) / 3) ** 2))),
  );
  counts[0] = phase === "before" ? 21_000 : 9_000;
  return { definition: "Made up for a test.", floor: -10, binWidth: 0.25, counts };
}

function madeUpOutliers(phase: Phase, ve: number): OutlierSummary {
  // the worst 0.1 % carry 61 % of the error before, 1 % after: sseShare = tokenShare^power
  const power = phase === "before" ? Math.log(0.61) / Math.log(0.001) : Math.log(0.01) / Math.log(0.001);
  const carried = (share: number) => share ** power;
  return {
    definition: "Made up for a test.",
    gini: 0.4,
    shares: [0.0001, 0.001, 0.01].map((share) => ({
      share,
      nTokens: Math.ceil(20_000 * share),
      sseShare: carried(share),
      veWithout: 1 - (1 - ve) * (1 - carried(share)),
      sseShareByNorm: 2 * share,
      veWithoutByNorm: ve + 0.001,
    })),
    curve: Array.from({ length: 50 }, (_, i) => {
      const tokenShare = 10 ** (-4.3 * (1 - i / 49));
      return { tokenShare, sseShare: carried(tokenShare) };
    }),
    worst: Array.from({ length: 50 }, (_, i) => madeUpToken(i, 0.3 / (i + 1) ** 2)),
  };
}

function madeUpToken(i: number, sseShare: number): WorstToken {
  return {
    sse: 1e6 * sseShare,
    sseShare,
    norm: 100 + i,
    normRatio: 1 + i / 50,
    tokenId: 1000 + i,
    source: "prose",
    role: "assistant",
    document: i,
    window: i,
    position: 3 * i,
    token: i === 0 ? HOSTILE : i === 1 ? "\n" : i === 2 ? null : ` token${i}`,
    before: i === 2 ? null : "what stood before it,",
    after: i === 2 ? null : " and what came after: שלום",
  };
}

function madeUpSlices(ve: number): SliceGroup[] {
  const slice = (name: string, off: number) => ({
    name,
    nTokens: 5000,
    ve: ve - off,
    l0: 30 + 20 * off,
    mse: 300 * (1 - ve + off),
    sseShare: 0.25,
  });
  const definition = "Made up for a test.";
  return [
    { by: "source", definition, slices: [slice("the only source", 0)] },
    {
      by: "role",
      definition,
      slices: [slice("user", 0.05), slice("assistant", -0.02), slice("template", 0.2)],
    },
    { by: "position", definition, slices: [slice("0–3", 0.1), slice("4–15", 0.02), slice("16–", -0.01)] },
    {
      by: "tokenClass",
      definition,
      slices: [slice("word start", 0), slice("other script with a long name", 0.3), slice(HOSTILE, 0.1)],
    },
    {
      by: "document",
      definition,
      slices: [slice("7 (prose)", 0.1), slice("9 (prose)", 0.05)],
      quantiles: [0, 10, 25, 50, 75, 90, 100].map((percentile) => ({
        percentile,
        ve: ve - 0.1 + percentile / 1000,
      })),
    },
  ];
}

/** 1 000 steps logged every second one; a resampling at 400 that the guard undoes at 520. */
function madeUpTraining(layer: number): TrainingFacts {
  const noise = new Philox(layer, "made-up");
  const line = (step: number, attempt: number): MetricsLine => {
    const wobble = noise.uniform(10_000 * attempt + step) - 0.5;
    const harm = attempt === 0 && step > 400 ? (step - 400) / 300 : 0;
    return {
      step,
      attempt,
      loss: 200 * Math.exp(-step / 300) + 80 + 8 * wobble + 60 * harm,
      mse: 20,
      innerMse: [40, 30],
      aux: 0,
      ve: 0.9 - 0.3 * Math.exp(-step / 200) + 0.01 * wobble - 0.2 * harm,
      l0: 32,
      gradNorm: 10,
      minPositive: 1,
      threshold: 1 + step / 5000 + harm,
      dead: Math.round(step / 2),
      learningRate: 1e-4,
    };
  };
  const range = (from: number, to: number, attempt: number) =>
    Array.from({ length: (to - from) / 2 }, (_, i) => line(from + 2 * (i + 1), attempt));
  const watch = (step: number, ve: number): TrainingEvent => ({ event: "watch", step, ve });
  return {
    name: "training",
    metrics: [...range(0, 520, 0), ...range(400, 1000, 1)],
    events: [
      { event: "start", step: 0 },
      watch(0, 0.6),
      watch(200, 0.78),
      watch(400, 0.84),
      {
        event: "resampling",
        step: 400,
        dead: 200,
        newcomers: 180,
        veBefore: 0.86,
        trials: [{ newcomers: 180, selectionShare: 0.09, cut: 1.2, ve: 0.861 }],
      },
      { event: "newcomers", step: 500, since: 400, maxShare: 0.31, threshold: [1.08, 1.4], ve: [0.84, 0.7] },
      watch(500, 0.7),
      {
        event: "guard-rollback",
        step: 520,
        what: "held-out VE fell from 0.8400 to 0.7000, at most 0.05 is allowed; training went back to step 400",
      },
      watch(500, 0.85),
      { event: "plateau", step: 900, what: "held-out VE has not risen for 300 steps" },
      watch(1000, 0.87),
      { event: "end", step: 1000, threshold: 1.2, dead: 500, rollbacks: 1 },
    ],
  };
}

function madeUpMovement(layer: number): LatentMovement {
  const n = 65_536;
  // two sequences that fill 0 … 1 evenly
  const [one, other] = [0.618_033_988_749_895, 0.754_877_666_246_693].map(
    (step) => (i: number) => (layer + i * step) % 1,
  );
  const decoderCosine = Float64Array.from({ length: n }, (_, i) => 1 - one(i) ** 4 * 0.8);
  const logFrequencyChange = Float64Array.from({ length: n }, (_, i) =>
    i % 5 === 0 ? Number.NaN : (other(i) - 0.5) * 2 * (1.2 - decoderCosine[i]),
  );
  return { decoderCosine, logFrequencyChange };
}

function madeUpSplice(phase: "before" | "after", layers: readonly number[]): SpliceFacts {
  const metric = (value: number, unit: string) => ({
    value,
    definition: "Made up for a test.",
    unit,
    n: 30_000,
    interval: { low: value * 0.97, high: value * 1.03 },
  });
  const loss = phase === "before" ? 4.1 : 2.95;
  const nats = "nats per token";
  const metrics: SpliceMetrics = {
    ceClean: metric(2.71, nats),
    ceSpliced: metric(loss, nats),
    ceZero: metric(11.8, nats),
    ceMean: metric(7.9, nats),
    klSpliced: metric(loss - 2.7, nats),
    klZero: metric(9.4, nats),
    klMean: metric(5.2, nats),
    ceScore: metric((11.8 - loss) / (11.8 - 2.71), "1"),
    klScore: metric((9.4 - loss + 2.7) / 9.4, "1"),
    ceScoreMean: metric((7.9 - loss) / (7.9 - 2.71), "1"),
    klScoreMean: metric((5.2 - loss + 2.7) / 5.2, "1"),
  };
  return {
    phase,
    result: {
      format: "lapidary-splice",
      version: 1,
      set: "chat",
      layers,
      saes: [],
      windows: { hash: "ef".repeat(32), nWindows: 128 },
      nTokens: 30_000,
      nDocuments: 128,
      intervals: {
        definition: "Percentile bootstrap over documents.",
        level: 0.95,
        replicates: 1000,
        seed: 0,
      },
      metrics,
    },
  };
}
