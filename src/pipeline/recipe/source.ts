/** SAEs to start from: where one lies, and what it is trained on as. */
import { z } from "zod";
import { denseProblems, type RecipeAround, type RecipeProblem, sourceRules, strayRules } from "./dense.ts";

/** `sae` of a recipe that starts from a published SAE. */
export const sourceSchema = z.strictObject({
  from: z.string().min(1).describe("Folder or hf:owner/name/path; {layer} stands for the layer"),
  zeroDecoderRows: z.enum(["refuse", "reinitialise"]).default("refuse"),
  architecture: z
    .enum(["standard", "gated", "jumprelu"])
    .nullable()
    .default(null)
    .describe("Train it on as what it was published as, one of these; null: by its k largest activations"),
  ...sourceRules,
});

type Source = z.infer<typeof sourceSchema>;

/** What does not go together in a recipe that starts from a source. */
export function sourceProblems(source: Source, recipe: RecipeAround): RecipeProblem[] {
  const { architecture } = source;
  return [
    ...strayRules(source, architecture ?? "one that is selected by size", ["sae"]),
    ...(architecture === null ? [] : denseProblems(recipe, architecture)),
  ];
}

/** What decides such a start, without what says the same as saying nothing: runs from before there was a choice go on. */
export function decidingSource({ architecture, standard, gated, jumprelu, ...rest }: Source): object {
  if (architecture === null) return rest;
  return { ...rest, architecture, [architecture]: { standard, gated, jumprelu }[architecture] };
}
