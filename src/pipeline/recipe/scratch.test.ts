/** Recipes from scratch: every architecture gets the form its options say, and options that belong to others are refused. */
import { describe, expect, it } from "vitest";
import { recipeSchema } from "./recipe.ts";
import { decidingScratch, scratchForm } from "./scratch.ts";

const source = { name: "prose", kind: "text", location: "prose.jsonl" };

function parse(scratch: Record<string, unknown>, train: Record<string, unknown> = {}, rest = {}) {
  return recipeSchema.parse({
    name: "small",
    model: { source: "model" },
    sae: { scratch: { dSae: 64, ...scratch } },
    layers: [4],
    corpus: { tokens: 1000, sources: [source] },
    train,
    eval: { sets: [{ name: "held-out", sources: [source] }] },
    ...rest,
  });
}

/** What every architecture needs whose latents fire by a rule of their own. */
const OWN = { resampling: null };
const AROUND = { output: { id: "sae-layer-{layer}" } };

function formOf(...recipe: Parameters<typeof parse>) {
  const { sae, train } = parse(...recipe);
  if (!("scratch" in sae)) throw new Error("not from scratch");
  return scratchForm(sae.scratch, train);
}

describe("the form of a recipe from scratch", () => {
  it("is batch-topk with its widths by default, or topk", () => {
    expect(formOf({}, { k: 4, widths: [16, 64] })).toEqual({
      form: {
        selection: "batch-topk",
        k: 4,
        widths: [16, 64],
        applyBDecToInput: true,
        rescaleActsByDecoderNorm: true,
        auxCoefficient: 0,
        thresholdLr: 0.01,
      },
    });
    expect(formOf({ architecture: "batchtopk" }, { k: 4.5 }).form).toMatchObject({ k: 4.5, widths: [64] });
    expect(formOf({ architecture: "topk" }, { k: 4 }).form).toMatchObject({ selection: "topk", k: 4 });
  });

  it("is that of standard, gated or jumprelu with the coefficients given, else SAELens' defaults", () => {
    const standard = { coefficient: 5, warmUpSteps: 20, lpNorm: 2 };
    expect(formOf({ architecture: "standard", standard }, OWN, AROUND).form).toEqual({
      selection: "own",
      architecture: { kind: "standard", lpNorm: 2 },
      widths: [64],
      applyBDecToInput: true,
      rescaleActsByDecoderNorm: false,
      sparsityCoefficient: 5,
      sparsityWarmUpSteps: 20,
      auxCoefficient: 0,
    });
    expect(formOf({ architecture: "gated" }, OWN, AROUND).form).toMatchObject({
      architecture: { kind: "gated" },
      sparsityCoefficient: 1,
      sparsityWarmUpSteps: 0,
    });
    const jumprelu = { loss: "tanh", tanhScale: 3, initThreshold: 0.2, preActCoefficient: 0.01 };
    expect(formOf({ architecture: "jumprelu", jumprelu }, OWN, AROUND)).toMatchObject({
      form: {
        architecture: { kind: "jumprelu", bandwidth: 0.05, sparsity: { loss: "tanh", scale: 3 } },
        auxCoefficient: 0.01,
      },
      initThreshold: 0.2,
    });
    expect(formOf({ architecture: "jumprelu" }, OWN, AROUND)).toEqual(
      formOf({ architecture: "jumprelu", jumprelu: {} }, OWN, AROUND),
    );
  });
});

describe("refused", () => {
  const refused = (...recipe: Parameters<typeof parse>) => expect(() => parse(...recipe));

  it("no k, a fractional k of topk, widths of a plain batch-topk", () => {
    refused({}).toThrow("k must be given");
    refused({ architecture: "topk" }, { k: 4.5 }).toThrow("must be an integer");
    refused({ architecture: "batchtopk" }, { k: 4, widths: [16, 64] }).toThrow("matryoshka-batchtopk");
  });

  it("options of another architecture", () => {
    refused({ gated: {} }, { k: 4 }).toThrow("of another architecture than matryoshka-batchtopk");
    refused({ architecture: "gated", jumprelu: {} }, OWN, AROUND).toThrow(
      "of another architecture than gated",
    );
    refused({ architecture: "gated", gated: { lpNorm: 2 } }, OWN, AROUND).toThrow("lpNorm");
  });

  it("what belongs to selection by size, beside an architecture without it", () => {
    const gated = { architecture: "gated" };
    refused(gated, {}, AROUND).toThrow("with gated it must be null");
    refused(gated, { ...OWN, k: 4 }, AROUND).toThrow("with gated it must be left out");
    refused(gated, { ...OWN, auxCoefficient: 1 }, AROUND).toThrow("preActCoefficient");
    refused(gated, OWN, { output: { id: "sae-{k}" } }).toThrow("without {k}");
  });
});

it("what was there before there was a choice of architecture is told apart by nothing new", () => {
  const { sae } = parse({}, { k: 4 });
  if (!("scratch" in sae)) throw new Error("not from scratch");
  const before = { dSae: 64, decoderInitNorm: 0.1, applyBDecToInput: true };
  expect(decidingScratch(sae.scratch)).toEqual({ scratch: before });
  const gated = { coefficient: 2, warmUpSteps: 0 };
  expect(decidingScratch({ ...sae.scratch, architecture: "gated", gated })).toEqual({
    scratch: { ...before, architecture: "gated", gated },
  });
});
