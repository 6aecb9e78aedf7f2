/** SAEs from scratch, of every architecture: what a recipe may say of one, and the form that is trained. */
import { z } from "zod";
import type { DenseArchitecture } from "../../kernels/kernels.ts";
import type { TrainingForm } from "../../sae/sae.ts";

type DenseKind = DenseArchitecture["kind"];

const sparsityLoss = {
  coefficient: z.number().min(0).default(1).describe("Of the sparsity loss"),
  warmUpSteps: z.number().int().min(0).default(0).describe("The coefficient rises from 0 over so many steps"),
};

/** What standard, gated and jumprelu are told; SAELens' defaults. */
const scratchRules = {
  standard: z
    .strictObject({ ...sparsityLoss, lpNorm: z.number().min(1).default(1) })
    .nullable()
    .default(null)
    .describe("L1 loss of a standard SAE; null: the defaults"),
  gated: z.strictObject(sparsityLoss).nullable().default(null).describe("L1 loss of a gated SAE's gates"),
  jumprelu: z
    .strictObject({
      ...sparsityLoss,
      loss: z.enum(["step", "tanh"]).default("step").describe("L0 by steps, or by tanh(scale · a · n)"),
      tanhScale: z.number().positive().default(4),
      bandwidth: z.number().positive().default(0.05).describe("Of the straight-through estimators"),
      initThreshold: z.number().positive().default(0.01),
      preActCoefficient: z.number().min(0).default(0).describe("Of the loss that pulls up dead latents"),
    })
    .nullable()
    .default(null)
    .describe("Thresholds and L0 loss of a jumprelu SAE"),
};

/** `sae.scratch` of a recipe. */
export const scratchSchema = z.strictObject({
  dSae: z.number().int().positive(),
  decoderInitNorm: z.number().positive().nullable().default(0.1),
  applyBDecToInput: z.boolean().default(true),
  architecture: z
    .enum(["matryoshka-batchtopk", "batchtopk", "topk", "standard", "gated", "jumprelu"])
    .default("matryoshka-batchtopk")
    .describe("The last three fire by a learnt rule, not by size; engine: reference trains them"),
  ...scratchRules,
});

type Scratch = z.infer<typeof scratchSchema>;

/** What of a recipe's `train` says which form is trained. */
interface FormOptions {
  readonly k: number | null;
  readonly widths: readonly number[] | null;
  readonly rescaleActsByDecoderNorm: boolean | null;
  readonly auxCoefficient: number;
  readonly thresholdLr: number;
}

/** What of a recipe must fit its architecture. */
interface RecipeAround {
  readonly train: FormOptions & {
    readonly resampling: unknown;
    readonly threshold: string;
    readonly moments: string;
    readonly screening: { readonly margin: string };
  };
  readonly engine: string;
  readonly output: { readonly id: string };
}

const DENSE: readonly DenseKind[] = ["standard", "gated", "jumprelu"];

export interface RecipeProblem {
  readonly path: readonly string[];
  readonly message: string;
}

/** What does not go together in a recipe from scratch. */
export function scratchProblems(scratch: Scratch, recipe: RecipeAround): RecipeProblem[] {
  const { architecture } = scratch;
  const others = DENSE.filter((kind) => kind !== architecture && scratch[kind] !== null).map((kind) => ({
    path: ["sae", "scratch", kind],
    message: `of another architecture than ${architecture}`,
  }));
  return [
    ...others,
    ...(isDense(architecture) ? denseProblems(recipe, architecture) : topKProblems(recipe, architecture)),
  ];
}

function topKProblems({ train }: RecipeAround, architecture: string): RecipeProblem[] {
  const { k, widths } = train;
  if (k === null) return [{ path: ["train", "k"], message: "from scratch, k must be given" }];
  const problems: RecipeProblem[] = [];
  if (architecture === "topk" && !Number.isInteger(k))
    problems.push({ path: ["train", "k"], message: "of topk must be an integer" });
  if (architecture !== "matryoshka-batchtopk" && widths !== null && widths.length > 1)
    problems.push({ path: ["train", "widths"], message: "belong to matryoshka-batchtopk" });
  return problems;
}

/** What belongs to selection by size, or to other engines, is refused, not ignored. */
function denseProblems({ train, engine, output }: RecipeAround, architecture: DenseKind): RecipeProblem[] {
  const wrong: [isWrong: boolean, path: string[], wanted: string][] = [
    [train.k !== null, ["train", "k"], "left out"],
    [train.widths !== null, ["train", "widths"], "left out"],
    [train.rescaleActsByDecoderNorm !== null, ["train", "rescaleActsByDecoderNorm"], "left out"],
    [train.auxCoefficient !== 0, ["train", "auxCoefficient"], "0 (a jumprelu has preActCoefficient)"],
    [train.resampling !== null, ["train", "resampling"], "null"],
    [train.threshold !== "ema", ["train", "threshold"], "left out"],
    [train.screening.margin !== "rigorous", ["train", "screening"], "left out"],
    [train.moments !== "f32", ["train", "moments"], "f32"],
    [engine !== "reference", ["engine"], "reference, the one that trains it"],
    [output.id.includes("{k}"), ["output", "id"], "a name without {k}"],
  ];
  return wrong
    .filter(([isWrong]) => isWrong)
    .map(([, path, wanted]) => ({ path, message: `with ${architecture} it must be ${wanted}` }));
}

/** The form that training from scratch begins with, and what a jumprelu's thresholds begin at. */
export function scratchForm(
  scratch: Scratch,
  { k, widths, rescaleActsByDecoderNorm, auxCoefficient, thresholdLr }: FormOptions,
): { form: TrainingForm; initThreshold?: number } {
  const { dSae, applyBDecToInput, architecture } = scratch;
  const common = { widths: widths ?? [dSae], applyBDecToInput };
  if (!isDense(architecture))
    return {
      form: {
        selection: architecture === "topk" ? "topk" : "batch-topk",
        k: k ?? 0,
        ...common,
        rescaleActsByDecoderNorm: rescaleActsByDecoderNorm ?? true,
        auxCoefficient,
        thresholdLr,
      },
    };
  const dense = { selection: "own", ...common, rescaleActsByDecoderNorm: false } as const;
  const { coefficient = 1, warmUpSteps = 0 } = scratch[architecture] ?? {};
  const sparsity = { sparsityCoefficient: coefficient, sparsityWarmUpSteps: warmUpSteps };
  switch (architecture) {
    case "standard": {
      const { lpNorm = 1 } = scratch.standard ?? {};
      return {
        form: { ...dense, ...sparsity, architecture: { kind: "standard", lpNorm }, auxCoefficient: 0 },
      };
    }
    case "gated":
      return { form: { ...dense, ...sparsity, architecture: { kind: "gated" }, auxCoefficient: 0 } };
    case "jumprelu": {
      const { loss = "step", tanhScale: scale = 4, bandwidth = 0.05 } = scratch.jumprelu ?? {};
      const { initThreshold = 0.01, preActCoefficient = 0 } = scratch.jumprelu ?? {};
      const pays = loss === "tanh" ? { loss, scale } : { loss };
      const rule = { kind: "jumprelu", bandwidth, sparsity: pays } as const;
      return {
        form: { ...dense, ...sparsity, architecture: rule, auxCoefficient: preActCoefficient },
        initThreshold,
      };
    }
  }
}

/** What decides a start from scratch, without what says the same as saying nothing: runs from before there was a choice go on. */
export function decidingScratch({ architecture, standard, gated, jumprelu, ...rest }: Scratch): object {
  if (architecture === "matryoshka-batchtopk") return { scratch: rest };
  const rules = isDense(architecture) ? { [architecture]: { standard, gated, jumprelu }[architecture] } : {};
  return { scratch: { ...rest, architecture, ...rules } };
}

function isDense(architecture: Scratch["architecture"]): architecture is DenseKind {
  return DENSE.some((kind) => kind === architecture);
}
