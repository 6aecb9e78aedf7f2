/**
 * What a recipe will need before a byte is written: tokens, steps, disk and memory a stage. Sizes come from the recipe,
 * from the source SAE's and the model's configuration where they are on this machine, and from nothing else; a size that
 * cannot be known yet is null, and the print says so.
 */
import { storeBytes } from "../activations/plan.ts";
import { evaluationMemory } from "../evals/memory.ts";
import { DEFAULT_CHUNK_ROWS } from "../evals/token-source.ts";
import type { DenseArchitecture } from "../kernels/kernels.ts";
import { type MemoryPart, memoryPlan } from "../kernels/memory.ts";
import { trainingMemory } from "../train/memory.ts";
import { denseArchitecture, isDense } from "./recipe/dense.ts";
import type { HeldOutRecipe, Recipe } from "./recipe/recipe.ts";

/** Sizes that the recipe itself does not hold. */
export interface KnownSizes {
  readonly dIn: number | null;
  readonly dSae: number | null;
  /** bytes of the model's files */
  readonly modelBytes: number | null;
}

/** What one stage needs. */
export interface StagePlan {
  readonly stage: string;
  /** of a stage that is shown in parts: which */
  readonly part?: string;
  /** what it goes through, once for all layers */
  readonly tokens: number;
  readonly steps: number | null;
  readonly diskBytes: number | null;
  readonly memoryBytes: number | null;
  /** what takes it, where it is worth telling apart */
  readonly memoryParts?: readonly MemoryPart[];
}

/** Bytes a window's token costs on disk: id u32, keep u8, role u8, document u32. */
const WINDOW_TOKEN_BYTES = 10;
/** Node, libraries and buffers of a process that has just started. */
const BASE_MEMORY = 250 * 1024 * 1024;
/** A shard of activations as read, as f32 and as written. */
const IMPORT_MEMORY = 512 * 1024 * 1024;

/** Logits at a time, and streams that wait to be scored. */
const SPLICE_MEMORY = 512 * 1024 * 1024;
/** Nearest decoder rows: in the source SAE, in the final one, of either in the other. */
const LATENT_SEARCHES = 4;
/** Runs of one splice beside the clean one: reconstruction, zeros, mean. */
const SPLICE_RUNS = 3;

/** Widths of a source SAE that has not been looked at. */
const USUAL_WIDTHS = 3;

/**
 * The plan of a recipe, one entry a stage (harvests: two) that takes noticeable time or space. `threads`: of the engine;
 * default: all cores.
 */
export function planRecipe(
  recipe: Recipe,
  sizes: KnownSizes,
  options: { readonly threads?: number } = {},
): StagePlan[] {
  const { dIn, dSae, modelBytes } = sizes;
  const nLayers = recipe.layers.length;
  const dtype = recipe.activations.dtype;
  const tokensOf = (sets: readonly HeldOutRecipe[]) =>
    sets.reduce((sum, set) => sum + (set.tokens ?? recipe.eval.tokens), 0);
  const gated = tokensOf(recipe.eval.sets);
  const domains = tokensOf(recipe.eval.domains);
  const heldOut = gated + domains;
  const nModels = recipe.baseModel === null || !("from" in recipe.sae) ? 1 : 2;
  const isImported = recipe.activations.import !== null;
  const store = (nRows: number) => (dIn === null ? null : nLayers * storeBytes({ nRows, dIn, dtype }));
  const { batchTokens, epochs } = recipe.train;
  const stepsPerEpoch = Math.max(1, Math.floor(recipe.corpus.tokens / batchTokens));
  const weights = dIn === null || dSae === null ? null : 4 * (2 * dIn * dSae + dIn + 2 * dSae);
  const architecture = architectureOf(recipe);
  const engine =
    dIn === null || dSae === null
      ? null
      : {
          dIn,
          dSae,
          widths: architecture ? [dSae] : (recipe.train.widths ?? new Array<number>(USUAL_WIDTHS).fill(dSae)),
          ...(architecture && { architecture }),
          applyBDecToInput: true,
          rescaleActsByDecoderNorm: true,
          threads: options.threads,
          moments: recipe.train.moments,
        };
  const k = recipe.train.k ?? undefined;
  const training =
    engine &&
    trainingMemory(engine, {
      batchTokens,
      k,
      aux: recipe.train.auxCoefficient > 0,
      nRows: recipe.corpus.tokens,
      dtype,
    });
  /** `copies` of the weights: as loaded, in the engine; while they are exported, in the training form too */
  const evaluation = (copies: number) =>
    engine &&
    BASE_MEMORY +
      (copies - 1) * (weights ?? 0) +
      memoryPlan({ ...engine, training: false }, { batchTokens: DEFAULT_CHUNK_ROWS, k }).total +
      evaluationMemory(engine.dIn, heldOut);
  const nKept = recipe.train.watch === null ? 1 : 2;
  const nPolished = recipe.polish.when === "never" ? 0 : (recipe.polish.layers?.length ?? nLayers);
  const polishSteps = nPolished * recipe.polish.epochs * stepsPerEpoch;
  const stages: StagePlan[] = [
    {
      stage: "corpus",
      tokens: isImported ? 0 : recipe.corpus.tokens + heldOut,
      steps: null,
      diskBytes: Math.ceil((recipe.corpus.tokens + heldOut) * 1.05) * WINDOW_TOKEN_BYTES,
      memoryBytes: BASE_MEMORY * 2,
    },
    ...[
      { part: "training", tokens: recipe.corpus.tokens },
      { part: "held-out", tokens: nModels * gated + domains },
    ].map(({ part, tokens }) => ({
      stage: "harvest",
      part: isImported ? `import, ${part}` : part,
      tokens,
      steps: null,
      diskBytes: store(tokens),
      memoryBytes: isImported
        ? BASE_MEMORY + IMPORT_MEMORY
        : modelBytes && BASE_MEMORY + 2 * modelBytes + 512 * 1024 * 1024,
    })),
    {
      stage: "before",
      tokens: "from" in recipe.sae ? (nModels * gated + domains) * nLayers : 0,
      steps: null,
      diskBytes: 0,
      memoryBytes: evaluation(2),
    },
    // weights and both moments: one layer's four times, of the others the last; with a watch the best, too
    {
      stage: "train",
      tokens: nLayers * epochs * stepsPerEpoch * batchTokens,
      steps: nLayers * epochs * stepsPerEpoch,
      diskBytes: weights === null ? null : (nKept * nLayers + 3) * 3 * weights,
      memoryBytes: training?.total ?? null,
      memoryParts: training?.parts,
    },
    {
      stage: "export",
      tokens: gated * nLayers,
      steps: null,
      diskBytes: weights === null ? null : nLayers * weights,
      memoryBytes: evaluation(3),
    },
    { stage: "after", tokens: heldOut * nLayers, steps: null, diskBytes: 0, memoryBytes: evaluation(2) },
    {
      stage: "polish",
      tokens: polishSteps * batchTokens,
      steps: polishSteps,
      diskBytes: weights === null || polishSteps === 0 ? 0 : (nKept * nPolished + 3) * 3 * weights,
      memoryBytes: polishSteps === 0 ? 0 : (training?.total ?? null),
    },
    {
      stage: "latents",
      tokens: (dSae ?? 0) * nLayers * LATENT_SEARCHES,
      steps: null,
      diskBytes: 0,
      memoryBytes: evaluation(4),
    },
    { stage: "verify", tokens: heldOut * nLayers, steps: null, diskBytes: 0, memoryBytes: evaluation(2) },
    {
      stage: "splice",
      tokens: isImported ? 0 : spliceTokens(recipe),
      steps: null,
      diskBytes: 0,
      memoryBytes: modelBytes && engine && evaluation(2 * nLayers)! + 2 * modelBytes + SPLICE_MEMORY,
    },
  ];
  return stages.filter(({ tokens }) => tokens > 0);
}

/** Undefined: latents are selected by size. */
function architectureOf({ sae }: Recipe): DenseArchitecture | undefined {
  const rules = "from" in sae ? sae : sae.scratch;
  return isDense(rules.architecture) ? denseArchitecture(rules.architecture, rules) : undefined;
}

/** Tokens that go through the model, or the part of it above a layer: clean, for the means, and each intervention. */
function spliceTokens({ eval: { splice, sets, tokens }, layers, sae }: Recipe): number {
  if (splice === null) return 0;
  const chosen = sets.reduce((sum, set) => sum + Math.min(splice.tokens, set.tokens ?? tokens), 0);
  const together = layers.length > 1 ? 1 : 0;
  const phases = "from" in sae ? 2 : 1;
  return phases * chosen * (2 + SPLICE_RUNS * (layers.length + together));
}
