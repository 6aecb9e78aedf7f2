/** Plans of the two recipes that ship, against sizes worked out by hand. */
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { planRecipe } from "./plan.ts";
import { loadRecipe } from "./recipe/file.ts";

const recipes = fileURLToPath(new URL("../../recipes/", import.meta.url));

async function planOf(name: string, sizes: Parameters<typeof planRecipe>[1], sets: string[] = []) {
  const { recipe } = await loadRecipe(`${recipes}${name}.yaml`, sets);
  const plans = planRecipe(recipe, sizes, { threads: 2 });
  return (stage: string, part?: string) => plans.find((plan) => plan.stage === stage && plan.part === part);
}

describe("gemma-4-e4b-it", () => {
  const sizes = { dIn: 2560, dSae: 65_536, modelBytes: 8e9 };
  const weights = 4 * (2 * 2560 * 65_536 + 2560 + 2 * 65_536);

  it("8.4 M tokens of three layers in bf16 take 129 GB, held-out sets counted apart", async () => {
    const plan = await planOf("gemma-4-e4b-it", sizes);
    const rowBytes = 2 * 2560 + 17; // bf16, and the row's labels
    expect(plan("harvest", "training")).toMatchObject({
      tokens: 8_400_000,
      diskBytes: 3 * 8_400_000 * rowBytes,
    });
    expect(Math.round((3 * 8_400_000 * rowBytes) / 1e9)).toBe(129);
    const heldOut = 2 * 262_144 + 2 * 65_536 + 131_072; // two sets, three domains
    expect(plan("harvest", "held-out")).toMatchObject({
      tokens: heldOut,
      diskBytes: 3 * heldOut * rowBytes,
    });
  });

  it("three layers of three epochs, and one epoch more for the layer that is polished", async () => {
    const plan = await planOf("gemma-4-e4b-it", sizes);
    const steps = Math.floor(8_400_000 / 4096);
    expect(plan("train")).toMatchObject({ steps: 9 * steps, tokens: 9 * steps * 4096 });
    expect(plan("polish")).toMatchObject({ steps, tokens: steps * 4096 });
    expect(plan("export")).toMatchObject({ diskBytes: 3 * weights });
  });

  it("training stays under 5.2 GB: weights and both moments once, and what works on them", async () => {
    const plan = await planOf("gemma-4-e4b-it", sizes);
    const { memoryBytes, memoryParts } = plan("train") ?? {};
    expect(memoryBytes).toBeGreaterThan(3 * weights);
    expect(memoryBytes).toBeLessThan(5.2e9);
    expect(memoryParts?.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(memoryBytes);
    expect(plan("polish")?.memoryBytes).toBe(memoryBytes);
    const withAux = await planOf("gemma-4-e4b-it", sizes, ["train.auxCoefficient=1"]);
    expect(withAux("train")?.memoryBytes).toBeGreaterThan(memoryBytes ?? 0);
    const narrow = await planOf("gemma-4-e4b-it", sizes, ["train.moments=bf16"]);
    expect((memoryBytes ?? 0) - (narrow("train")?.memoryBytes ?? 0)).toBeGreaterThan(0.99 * weights);
  });

  it("splices two sets before and after: clean, means, and three runs of each layer and of all at once", async () => {
    const plan = await planOf("gemma-4-e4b-it", sizes);
    expect(plan("splice")?.tokens).toBe(2 * 2 * 32_768 * (2 + 3 * 4));
    expect(plan("latents")?.tokens).toBe(3 * 4 * 65_536);
    const without = await planOf("gemma-4-e4b-it", sizes, ["eval.splice=null"]);
    expect(without("splice")).toBeUndefined();
  });

  it("says null where a size is not known", async () => {
    const plan = await planOf("gemma-4-e4b-it", { dIn: null, dSae: null, modelBytes: null });
    expect(plan("harvest", "training")).toMatchObject({
      tokens: 8_400_000,
      diskBytes: null,
      memoryBytes: null,
    });
    expect(plan("train")).toMatchObject({ steps: 18_450, memoryBytes: null });
  });
});

describe("tiny-gemma", () => {
  const sizes = { dIn: 256, dSae: 4096, modelBytes: 20e6 };
  const domains = 6000 + 6000 + 12_000;
  const fixed = ["corpus.tokens=300000", "eval.tokens=20000", "layers=[2, 4, 6]"];

  it("harvests held-out sets from both models, training and domains from one", async () => {
    const plan = await planOf("tiny-gemma", sizes, fixed);
    expect(plan("harvest", "training")?.tokens).toBe(300_000);
    expect(plan("harvest", "held-out")?.tokens).toBe(2 * 2 * 20_000 + domains);
    expect(plan("before")?.tokens).toBe(3 * (2 * 2 * 20_000 + domains));
    expect(plan("after")?.tokens).toBe(3 * (2 * 20_000 + domains));
    expect(plan("polish")).toBeUndefined();
  });

  it("from scratch: no base model and no before; with activations from elsewhere: no corpus", async () => {
    const scratch = await planOf("tiny-gemma", sizes, [...fixed, "sae={scratch: {dSae: 512}}", "train.k=8"]);
    expect(scratch("before")).toBeUndefined();
    expect(scratch("harvest", "held-out")?.tokens).toBe(2 * 20_000 + domains);
    const imported = await planOf("tiny-gemma", sizes, [
      ...fixed,
      "activations.import=d/{model}/{set}/{layer}",
    ]);
    expect(imported("corpus")).toBeUndefined();
    expect(imported("harvest", "import, training")?.tokens).toBe(300_000);
  });
});
