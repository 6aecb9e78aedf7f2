/** SAEs from scratch, of every architecture: what a recipe may say of one, and the form that is trained. */
import { z } from "zod";
import type { TrainingForm } from "../../sae/sae.ts";
import {
  denseForm,
  denseProblems,
  isDense,
  type RecipeAround,
  type RecipeProblem,
  scratchRules,
  strayRules,
} from "./dense.ts";

/** `sae.scratch` of a recipe. */
export const scratchSchema = z.strictObject({
  dSae: z.number().int().positive(),
  decoderInitNorm: z.number().positive().nullable().default(0.1),
  applyBDecToInput: z.boolean().default(true),
  architecture: z
    .enum(["matryoshka-batchtopk", "batchtopk", "topk", "standard", "gated", "jumprelu"])
    .default("matryoshka-batchtopk")
    .describe("The last three fire by a learnt rule, not by size"),
  ...scratchRules,
});

type Scratch = z.infer<typeof scratchSchema>;

/** What of a recipe's `train` says which form is trained. */
type FormOptions = Pick<
  RecipeAround["train"],
  "k" | "widths" | "rescaleActsByDecoderNorm" | "auxCoefficient"
> & { readonly thresholdLr: number };

/** What does not go together in a recipe from scratch. */
export function scratchProblems(scratch: Scratch, recipe: RecipeAround): RecipeProblem[] {
  const { architecture } = scratch;
  return [
    ...strayRules(scratch, architecture, ["sae", "scratch"]),
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

/** The form that training from scratch begins with, and what a jumprelu's thresholds begin at. */
export function scratchForm(
  scratch: Scratch,
  { k, widths, rescaleActsByDecoderNorm, auxCoefficient, thresholdLr }: FormOptions,
): { form: TrainingForm; initThreshold?: number } {
  const { dSae, applyBDecToInput, architecture } = scratch;
  if (isDense(architecture))
    return {
      form: denseForm(architecture, scratch, scratch),
      ...(architecture === "jumprelu" && { initThreshold: scratch.jumprelu?.initThreshold ?? 0.01 }),
    };
  return {
    form: {
      selection: architecture === "topk" ? "topk" : "batch-topk",
      k: k ?? 0,
      widths: widths ?? [dSae],
      applyBDecToInput,
      rescaleActsByDecoderNorm: rescaleActsByDecoderNorm ?? true,
      auxCoefficient,
      thresholdLr,
    },
  };
}

/** What decides a start from scratch, without what says the same as saying nothing: runs from before there was a choice go on. */
export function decidingScratch({ architecture, standard, gated, jumprelu, ...rest }: Scratch): object {
  if (architecture === "matryoshka-batchtopk") return { scratch: rest };
  const rules = isDense(architecture) ? { [architecture]: { standard, gated, jumprelu }[architecture] } : {};
  return { scratch: { ...rest, architecture, ...rules } };
}
