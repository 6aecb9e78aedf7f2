/**
 * Standard, gated and jumprelu in recipes: what may be said of each, from scratch and from a source alike, what does not go
 * together with them, and the form that is trained.
 */
import { z } from "zod";
import type { DenseArchitecture } from "../../kernels/kernels.ts";
import type { DenseForm } from "../../sae/sae.ts";

export type DenseKind = DenseArchitecture["kind"];

const DENSE: readonly DenseKind[] = ["standard", "gated", "jumprelu"];

const sparsityLoss = {
  coefficient: z.number().min(0).default(1).describe("Of the sparsity loss"),
  warmUpSteps: z.number().int().min(0).default(0).describe("The coefficient rises from 0 over so many steps"),
};

const standard = z.strictObject({ ...sparsityLoss, lpNorm: z.number().min(1).default(1) });
const gated = z.strictObject(sparsityLoss);
const jumprelu = z.strictObject({
  ...sparsityLoss,
  loss: z.enum(["step", "tanh"]).default("step").describe("L0 by steps, or by tanh(scale · a · n)"),
  tanhScale: z.number().positive().default(4),
  bandwidth: z.number().positive().default(0.05).describe("Of the straight-through estimators"),
  preActCoefficient: z.number().min(0).default(0).describe("Of the loss that pulls up dead latents"),
});
const initThreshold = z.number().positive().default(0.01);

const orDefaults = <T extends z.ZodType>(rules: T, of: string) => rules.nullable().default(null).describe(of);
const [OF_STANDARD, OF_GATED, OF_JUMPRELU] = [
  "L1 loss of a standard SAE; null: the defaults",
  "L1 loss of a gated SAE's gates",
  "Thresholds and L0 loss of a jumprelu SAE",
];

/** What the three are told where they start from a source; SAELens' defaults. */
export const sourceRules = {
  standard: orDefaults(standard, OF_STANDARD),
  gated: orDefaults(gated, OF_GATED),
  jumprelu: orDefaults(jumprelu, OF_JUMPRELU),
};

/** The same from scratch, where thresholds have to begin somewhere. */
export const scratchRules = {
  ...sourceRules,
  jumprelu: orDefaults(jumprelu.extend({ initThreshold }), OF_JUMPRELU),
};

/** What a recipe says of the three; at most one of them is told something. */
export interface DenseRules {
  readonly standard: z.infer<typeof standard> | null;
  readonly gated: z.infer<typeof gated> | null;
  readonly jumprelu: z.infer<typeof jumprelu> | null;
}

/** What of a recipe must fit its architecture. */
export interface RecipeAround {
  readonly train: {
    readonly k: number | null;
    readonly widths: readonly number[] | null;
    readonly rescaleActsByDecoderNorm: boolean | null;
    readonly auxCoefficient: number;
    readonly resampling: unknown;
    readonly threshold: string;
    readonly screening: { readonly margin: string };
  };
  readonly output: { readonly id: string };
}

export interface RecipeProblem {
  readonly path: readonly string[];
  readonly message: string;
}

export function isDense(architecture: string | null): architecture is DenseKind {
  return DENSE.some((kind) => kind === architecture);
}

/** Rules of other architectures than the one that is trained. `path`: where in the recipe they stand. */
export function strayRules(
  rules: DenseRules,
  architecture: string,
  path: readonly string[],
): RecipeProblem[] {
  return DENSE.filter((kind) => kind !== architecture && rules[kind] !== null).map((kind) => ({
    path: [...path, kind],
    message: `of another architecture than ${architecture}`,
  }));
}

/** What belongs to selection by size is refused, not ignored. */
export function denseProblems({ train, output }: RecipeAround, architecture: DenseKind): RecipeProblem[] {
  const wrong: [isWrong: boolean, path: string[], wanted: string][] = [
    [train.k !== null, ["train", "k"], "left out"],
    [train.widths !== null, ["train", "widths"], "left out"],
    [train.rescaleActsByDecoderNorm !== null, ["train", "rescaleActsByDecoderNorm"], "left out"],
    [train.auxCoefficient !== 0, ["train", "auxCoefficient"], "0 (a jumprelu has preActCoefficient)"],
    [train.resampling !== null, ["train", "resampling"], "null"],
    [train.threshold !== "ema", ["train", "threshold"], "left out"],
    [train.screening.margin !== "rigorous", ["train", "screening"], "left out"],
    [output.id.includes("{k}"), ["output", "id"], "a name without {k}"],
  ];
  return wrong
    .filter(([isWrong]) => isWrong)
    .map(([, path, wanted]) => ({ path, message: `with ${architecture} it must be ${wanted}` }));
}

/** How latents fire and what they pay, by the rules of their kind. */
export function denseArchitecture(kind: DenseKind, rules: DenseRules): DenseArchitecture {
  switch (kind) {
    case "standard":
      return { kind, lpNorm: rules.standard?.lpNorm ?? 1 };
    case "gated":
      return { kind };
    case "jumprelu": {
      const { loss = "step", tanhScale: scale = 4, bandwidth = 0.05 } = rules.jumprelu ?? {};
      return { kind, bandwidth, sparsity: loss === "tanh" ? { loss, scale } : { loss } };
    }
  }
}

/** The form that is trained, of an SAE of dSae latents. */
export function denseForm(
  kind: DenseKind,
  rules: DenseRules,
  { dSae, applyBDecToInput }: { readonly dSae: number; readonly applyBDecToInput: boolean },
): DenseForm {
  const { coefficient = 1, warmUpSteps = 0 } = rules[kind] ?? {};
  return {
    selection: "own",
    architecture: denseArchitecture(kind, rules),
    widths: [dSae],
    applyBDecToInput,
    rescaleActsByDecoderNorm: false,
    sparsityCoefficient: coefficient,
    sparsityWarmUpSteps: warmUpSteps,
    auxCoefficient: kind === "jumprelu" ? (rules.jumprelu?.preActCoefficient ?? 0) : 0,
  };
}
