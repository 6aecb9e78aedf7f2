/** Facts of made-up runs, from the fullest card to the barest. */
import type { CardEvaluation, CardFacts, CardLayer } from "../../src/publish/card/facts.ts";

const interval = { low: 0.78, high: 0.81 };
const change = { difference: 0.03, interval: { low: 0.02, high: 0.04 } };

function evaluation(set: string, changes: Partial<CardEvaluation> = {}): CardEvaluation {
  return {
    set,
    isDomain: false,
    nTokens: 262_144,
    nDocuments: 300,
    metrics: {
      ve: { value: 0.801, interval, before: 0.77, change },
      l0: { value: 99.5, interval: null, before: 99.5, change: null },
    },
    nNeverFired: 12_345,
    outliers: {
      definition: "ranked",
      gini: 0.4,
      shares: [0.0001, 0.001, 0.01].map((share) => ({
        share,
        nTokens: Math.ceil(share * 262_144),
        sseShare: 10 * share,
        veWithout: 0.82,
        sseShareByNorm: share,
        veWithoutByNorm: null,
      })),
      curve: [{ tokenShare: 1, sseShare: 1 }],
      worst: [],
    },
    positions: ["0–3", "4–15"].map((name) => ({
      name,
      nTokens: 1000,
      ve: 0.7,
      l0: 90,
      mse: 3,
      sseShare: 0.1,
    })),
    ...changes,
  };
}

export function madeUpLayer(layer: number, changes: Partial<CardLayer> = {}): CardLayer {
  return {
    layer,
    id: `btk-mat-layer-${layer}-k-100`,
    hookName: `model.language_model.layers.${layer}`,
    hookPoint: `blocks.${layer}.hook_resid_post`,
    architecture: "jumprelu",
    dtype: "bfloat16",
    inputTransform: "x as the model gives it, not normalised; b_dec is subtracted",
    k: 100,
    dIn: 2560,
    dSae: 65_536,
    widths: [2048, 16_384, 65_536],
    threshold: 1.2345,
    trainedAs: "matryoshka_batchtopk",
    calibration: {
      used: "calibrated",
      threshold: 1.3,
      l0: 100,
      l0OfAverage: 104,
      nTokens: 524_288,
      sets: ["prose", "chat"],
      perLatent: null,
    },
    courses: [
      {
        isPolish: false,
        steps: 900,
        totalSteps: 1000,
        stopped: "held-out VE has not risen for 5 looks",
        last: { step: 900, ve: 0.79 },
        best: { step: 800, ve: 0.8 },
        keptStep: 800,
        resamplings: [
          {
            step: 500,
            dead: 1000,
            newcomers: 900,
            predicted: { share: 0.01, cut: [1, 1.1], ve: [0.8, 0.8] },
            undone: true,
          },
        ],
      },
    ],
    steps: 800,
    tokens: 25_000_000,
    belowGate: false,
    verified: true,
    hasContract: true,
    deadInTraining: 321,
    incidents: [],
    audit: null,
    evaluations: [evaluation("prose"), evaluation("chat")],
    beforePolish: null,
    ...changes,
  };
}

/** What is published with a card of `layers`. */
function filesOf(layers: readonly CardLayer[]): string[] {
  return [
    "report/index.html",
    "verification.json",
    "evals/splice.after.json",
    ...layers.flatMap(({ id, hookPoint }) => [
      ...["cfg.json", "sae_weights.safetensors", "sparsity.safetensors", "contract.json"].map(
        (name) => `${id}/${name}`,
      ),
      `evals/${hookPoint}.after.json`,
      `train/${hookPoint}/metrics.jsonl`,
    ]),
  ];
}

export function madeUpFacts(changes: Partial<CardFacts> = {}): CardFacts {
  const layers = changes.layers ?? [7, 21, 35].map((layer) => madeUpLayer(layer));
  const score = (ve: number) => ({ set: "prose", ve, veInterval: interval, l0: 99.5 });
  return {
    title: "Gemma-4-E4B-it SAEs",
    run: "gemma-4-e4b-it",
    model: "onnx-community/gemma-4-E4B-it-ONNX@abc",
    isHubModel: true,
    modelFiles: [{ name: "onnx/model_q4.onnx", sha256: null, bytes: 5_000_000_000 }],
    baseModel: "google/gemma-4-E4B",
    source: "somebody/gemma-4-saes/layer_{layer}",
    datasets: ["HuggingFaceTB/smollm-corpus", "HuggingFaceTB/smoltalk@main"],
    license: "apache-2.0",
    sourceLicense: { declared: null },
    publication: {
      repository: "me/saes",
      revision: "0".repeat(40),
      tolerance: 1e-6,
      layers: layers.map(({ layer }) => ({ layer })),
    },
    links: [{ name: "neuronpedia", url: "https://www.neuronpedia.org/gemma-4-e4b-it?a=1#b" }],
    files: filesOf(layers),
    rows: layers.map(({ layer, belowGate }) => ({
      layer,
      base: [score(0.8)],
      before: [score(0.77)],
      after: [score(0.8)],
      dead: 321,
      belowGate,
    })),
    layers,
    sets: ["prose", "chat"].map((name) => ({
      name,
      nKept: 262_144,
      nDocuments: 300,
      sources: ["HuggingFaceTB/smollm-corpus"],
    })),
    domains: layers.map(({ layer }) => ({
      layer,
      domain: "code",
      contextSize: 4096,
      nTokens: 131_072,
      sources: ["bigcode/the-stack"],
      before: null,
      after: { set: "code", ve: 0.7, l0: 120 },
    })),
    splices: [],
    training: {
      sources: [{ name: "prose", kind: "text", location: "HuggingFaceTB/smollm-corpus", nKept: 12_500_000 }],
      nKept: 25_000_000,
      epochs: 2,
      batchTokens: 4096,
      lr: 4e-4,
      schedule: "cosineannealing",
      thresholdLr: 0.01,
      auxCoefficient: 0,
      resampling: "off",
      deadAfterTokens: 4_096_000,
      polish: "1 epoch at 0.00005, no resampling",
      isGuarded: true,
    },
    activationDtype: "bf16",
    contextSize: 1024,
    prependBos: true,
    bosTokenId: 2,
    excluded: [0, 1, 2, 3, 105, 106],
    chatTemplateHash: "f".repeat(64),
    isImported: false,
    packing: "saelens",
    evalPacking: "document",
    gate: 0.75,
    seed: 0,
    definitions: { ve: "Variance explained.", l0: "Mean number of latents active on a token." },
    intervals: { definition: "Percentile bootstrap.", level: 0.95 },
    software: { lapidary: "0.1.0", node: "20.19.0" },
    ...changes,
  };
}

/** Nothing measured that need not be, nothing published. */
export function barestFacts(): CardFacts {
  const layers = [
    madeUpLayer(3, {
      k: null,
      threshold: null,
      calibration: null,
      trainedAs: null,
      courses: [],
      widths: [512],
      deadInTraining: null,
      verified: false,
      hasContract: false,
      evaluations: [
        evaluation("prose", {
          nDocuments: 1,
          metrics: { ve: { value: null, interval: null, before: null, change: null } },
          outliers: null,
          positions: [],
        }),
      ],
    }),
  ];
  return madeUpFacts({
    layers,
    isHubModel: false,
    model: "models/mine",
    modelFiles: [],
    baseModel: null,
    source: null,
    datasets: [],
    license: null,
    sourceLicense: null,
    publication: null,
    links: [],
    files: ["report/index.html", `${layers[0].id}/cfg.json`],
    rows: [{ layer: 3, before: [], after: [{ set: "prose", ve: null, l0: null }] }],
    sets: [{ name: "prose", nKept: 900, nDocuments: 1, sources: [] }],
    domains: [],
    excluded: [],
    chatTemplateHash: null,
    isImported: true,
    gate: null,
    intervals: null,
    training: { ...madeUpFacts().training, sources: [], isGuarded: false },
  });
}
