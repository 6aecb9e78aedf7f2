/** Recipes that start from a source: what it may be trained on as, and what is refused beside that. */
import { describe, expect, it } from "vitest";
import { recipeSchema } from "./recipe.ts";
import { decidingSource } from "./source.ts";

const texts = { name: "prose", kind: "text", location: "prose.jsonl" };
const NAMED = { output: { id: "sae-layer-{layer}" } };
const OWN = { resampling: null };

function parse(sae: Record<string, unknown>, train: Record<string, unknown> = {}, rest = {}) {
  const recipe = recipeSchema.parse({
    name: "small",
    model: { source: "model" },
    sae: { from: "saes/layer_{layer}", ...sae },
    layers: [4],
    corpus: { tokens: 1000, sources: [texts] },
    train,
    eval: { sets: [{ name: "held-out", sources: [texts] }] },
    ...rest,
  });
  if (!("from" in recipe.sae)) throw new Error("from scratch");
  return recipe.sae;
}

describe("a source", () => {
  it("is trained on by size unless an architecture is named, and then by its rules", () => {
    expect(parse({})).toMatchObject({ architecture: null, standard: null, gated: null, jumprelu: null });
    const jumprelu = { coefficient: 2, warmUpSteps: 5 };
    expect(parse({ architecture: "jumprelu", jumprelu }, OWN, NAMED).jumprelu).toEqual({
      ...jumprelu,
      ...{ loss: "step", tanhScale: 4, bandwidth: 0.05, preActCoefficient: 0 },
    });
  });

  it("has thresholds already, and nothing of what belongs to others", () => {
    const refused = (...recipe: Parameters<typeof parse>) => expect(() => parse(...recipe));
    refused({ architecture: "jumprelu", jumprelu: { initThreshold: 1 } }, OWN, NAMED).toThrow(
      "initThreshold",
    );
    refused({ architecture: "topk" }, {}, NAMED).toThrow();
    refused({ gated: {} }, {}, NAMED).toThrow("of another architecture than one that is selected by size");
    refused({ architecture: "gated", standard: {} }, OWN, NAMED).toThrow("another architecture than gated");
    refused({ architecture: "gated" }, {}, NAMED).toThrow("with gated it must be null");
    refused({ architecture: "gated" }, { ...OWN, k: 3 }, NAMED).toThrow("with gated it must be left out");
    refused({ architecture: "gated" }, OWN).toThrow("without {k}");
  });

  it("is told apart by nothing new where no architecture is named, and by that one's rules where one is", () => {
    const before = { from: "saes/layer_{layer}", zeroDecoderRows: "refuse" };
    expect(decidingSource(parse({}))).toEqual(before);
    expect(decidingSource(parse({ architecture: "gated", gated: { coefficient: 2 } }, OWN, NAMED))).toEqual({
      ...before,
      architecture: "gated",
      gated: { coefficient: 2, warmUpSteps: 0 },
    });
  });
});
