/** What a made-up run measured: two layers, three sets, a training with incidents, predictions. */
import type {
  Estimate,
  LayerOverview,
  MeasuredPhase,
  MeasurementOverview,
  Overview,
  TrainingOverview,
} from "../../src/dashboard/overview.ts";

const SETS = ["heldout", "chat <i>", "code"] as const;
const VE: Readonly<Record<MeasuredPhase, number>> = {
  home: 0.83,
  before: 0.61,
  prepolish: 0.78,
  after: 0.81,
};

export function madeUpOverview(): Overview {
  return {
    format: "lapidary-overview",
    version: 1,
    runs: [
      {
        run: "made-up",
        title: "SAEs for a made-up model",
        headline: "The source SAE does not fit made-up/model. The adapted one does <b>.",
        model: "made-up/model",
        baseModel: "made-up/base",
        source: "somebody/some-sae",
        gate: 0.75,
        sets: SETS.map((name) => ({ name, sources: [`texts of ${name}`] })),
        layers: [layer(4), layer(6)],
        splices: (["before", "after"] as const).map((phase) => ({
          phase,
          set: "heldout",
          layers: [4, 6],
          nTokens: 20_000,
          nDocuments: 90,
          metrics: {
            ceClean: estimate(2.91),
            ceSpliced: estimate(phase === "after" ? 3.05 : 4.4),
            klSpliced: estimate(0.2),
            ceScore: estimate(phase === "after" ? 0.97 : 0.71),
            klScore: estimate(0.95),
          },
        })),
        definitions: {
          ve: "1 − Σ‖x − x̂‖² / Σ‖x − x̄‖²",
          l0: "latents that fire, mean over tokens",
          mse: "mean over tokens of ‖x − x̂‖²",
          ceScore: "share of the loss of cross-entropy that the SAE undoes",
          loss: "mean over the batch",
        },
        provenance: {
          recipe: "name: made-up\nmodel: made-up/model\n",
          files: [{ what: "sae/layer-4", sha256: "ab".repeat(32) }],
          software: { lapidary: "0.1.0", node: "20" },
          machine: { processor: "made-up" },
          seeds: [{ what: "training", seed: 7 }],
        },
      },
    ],
  };
}

function layer(number: number): LayerOverview {
  return {
    layer: number,
    hookName: `blocks.${number}.hook_resid_post`,
    measurements: SETS.flatMap((set, i) =>
      (["home", "before", "after"] as const).map((phase) => measurement(phase, set, i - number / 20)),
    ),
    nDeadInTraining: 12,
    trainings: [training()],
    verdicts: [
      {
        phase: "before",
        verdict: "fails",
        set: "heldout",
        reasons: ["VE 0.61 is below 0.75.", "Norms are 1.4 times those at home."],
      },
      { phase: "after", verdict: "fits", set: "heldout", reasons: ["VE 0.81 is above 0.75 on every set."] },
    ],
  };
}

function measurement(phase: MeasuredPhase, set: string, offset: number): MeasurementOverview {
  return {
    phase,
    set,
    isDomain: set === "code",
    nTokens: 20_000,
    nDocuments: 90,
    saeHash: "0".repeat(64),
    metrics: {
      ve: estimate(VE[phase] + offset / 50),
      l0: estimate(40 + offset),
      mse: estimate(12.5 - offset),
    },
    veChange: phase === "after" ? estimate(VE.after - VE.before) : null,
    nLatents: 512,
    nNeverFired: phase === "after" ? 14 : 80,
    densities: {
      floor: -6,
      binWidth: 0.25,
      counts: Array.from({ length: 24 }, (_, i) =>
        Math.round(60 * Math.exp(-(((i - (phase === "after" ? 12 : 9)) / 4) ** 2))),
      ),
    },
  };
}

function training(): TrainingOverview {
  const step = Array.from({ length: 200 }, (_, i) => 10 * (i + 1));
  const decay = (from: number, to: number) =>
    step.map((at, i) => to + (from - to) * Math.exp(-at / 300) + 0.01 * Math.sin(i));
  return {
    name: "training",
    nSteps: 2000,
    isFinished: true,
    curves: {
      step,
      loss: decay(60, 12),
      ve: decay(0.4, 0.8),
      l0: decay(70, 40),
      threshold: decay(0.1, 0.6),
      dead: decay(80, 12),
      gradNorm: decay(3, 1),
      learningRate: decay(1e-3, 1e-5).map(Math.abs),
    },
    heldOut: { step: [500, 1000, 1500, 2000], ve: [0.74, 0.78, 0.8, 0.81] },
    events: [
      { step: 600, kind: "resampling", text: "12 latents resampled" },
      { step: 900, kind: "rollback", text: "held-out VE fell by 0.02: rolled back <script>" },
      { step: 1400, kind: "note", text: "a plateau" },
    ],
  };
}

const estimate = (value: number): Estimate => ({ value, low: value * 0.99, high: value * 1.01 });
