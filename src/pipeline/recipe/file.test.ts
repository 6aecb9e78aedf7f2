import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { RecipeError } from "../../errors.ts";
import { trainConfig } from "../stages/train.ts";
import { loadRecipe, parseRecipe, stringifyRecipe } from "./file.ts";

const small = {
  name: "test",
  model: { source: "../model" },
  sae: { from: "../sae/layer_{layer}" },
  layers: [2],
  corpus: { tokens: 1000, sources: [{ name: "prose", kind: "text", location: "../data.jsonl" }] },
  eval: { sets: [{ name: "held", sources: [{ name: "prose", kind: "text", location: "hf:owner/data" }] }] },
};

describe("recipes", () => {
  it("fill in every default", () => {
    const recipe = parseRecipe(small);
    expect(recipe.contextSize).toBe(1024);
    expect(recipe.train.resampling?.scale).toBe(0.2);
    expect(recipe.corpus.sources[0].weight).toBe(1);
    expect(recipe.polish.when).toBe("never");
  });

  it("screen rigorously, unless a statistical margin is asked for, which has its audit", () => {
    expect(trainConfig(parseRecipe(small)).screening).toBeUndefined();
    const asked = parseRecipe({ ...small, train: { screening: { margin: "statistical", sigmas: 5 } } });
    expect(trainConfig(asked).screening).toEqual({
      sigmas: 5,
      auditEverySteps: 50,
      auditTokens: 64,
      maxMissedShare: 1e-4,
    });
    expect(() => parseRecipe({ ...small, train: { screening: { margin: "none" } } })).toThrow(RecipeError);
  });

  it("name a misspelt key and the nearest known one, at any depth", () => {
    const misspelt = (change: object) => () => parseRecipe({ ...small, ...change });
    expect(misspelt({ contextsize: 3 })).toThrow('unknown key "contextsize" (did you mean "contextSize"?)');
    expect(misspelt({ train: { epoch: 3 } })).toThrow(
      'unknown key "train.epoch" (did you mean "train.epochs"?)',
    );
    expect(misspelt({ train: { resampling: { scal: 1 } } })).toThrow(
      'unknown key "train.resampling.scal" (did you mean "train.resampling.scale"?)',
    );
    expect(misspelt({ eval: { sets: [{ ...small.eval.sets[0], tokns: 2 }] } })).toThrow(
      'unknown key "eval.sets.0.tokns" (did you mean "eval.sets.0.tokens"?)',
    );
    expect(misspelt({ sae: { fron: "x" } })).toThrow('did you mean "sae.from"?');
  });

  it("say what was got where a value is wrong, all problems at once", () => {
    const wrong = () => parseRecipe({ ...small, layers: [-1], train: { widths: [4, 2] }, seed: "x" });
    expect(wrong).toThrow(RecipeError);
    expect(wrong).toThrow(/seed: .*\(got "x"\).*/);
    expect(wrong).toThrow(/layers\.0/);
  });

  it("refuse two sets of one name, layers listed twice, and scratch without k", () => {
    expect(() => parseRecipe({ ...small, layers: [1, 1] })).toThrow("listed twice");
    expect(() => parseRecipe({ ...small, sae: { scratch: { dSae: 64 } } })).toThrow("k must be given");
    const sets = [small.eval.sets[0], small.eval.sets[0]];
    expect(() => parseRecipe({ ...small, eval: { sets } })).toThrow('two sets named "held"');
  });

  it("refuse names that lead out of their folder, and SAEs that would overwrite each other", () => {
    for (const name of ["..", ".hidden", "a/b", ""])
      expect(() => parseRecipe({ ...small, name })).toThrow("name: letters, digits");
    expect(() => parseRecipe({ ...small, output: { id: "../layer-{layer}" } })).toThrow("it names a folder");
    const layers = [2, 4];
    expect(() => parseRecipe({ ...small, layers, output: { id: "sae" } })).toThrow("overwrite each other");
    expect(parseRecipe({ ...small, layers, output: { id: "sae-{layer}" } }).output.id).toBe("sae-{layer}");
    expect(() => parseRecipe({ ...small, polish: { when: "gate" } })).toThrow("set eval.gate");
  });

  it("are overridden by --set and can be run again from the run folder", async () => {
    const dir = await mkdtemp(join(tmpdir(), "lapidary-recipe-"));
    await writeFile(join(dir, "r.yaml"), JSON.stringify(small));
    const { recipe, folder } = await loadRecipe(join(dir, "r.yaml"), [
      "train.epochs=1",
      "layers=[3,4]",
      "eval.gate=0.5",
    ]);
    expect([recipe.train.epochs, recipe.layers, recipe.eval.gate]).toEqual([1, [3, 4], 0.5]);
    const written = parse(stringifyRecipe(recipe, folder, join(dir, "runs", "test")));
    expect(written.model.source).toBe("../../../model");
    expect(written.eval.sets[0].sources[0].location).toBe("hf:owner/data");
    expect(parseRecipe(written)).toEqual({ ...parseRecipe(written) });
    await expect(loadRecipe(join(dir, "r.yaml"), ["train.epochs"])).rejects.toThrow("expected key=value");
    await expect(loadRecipe(join(dir, "absent.yaml"))).rejects.toThrow("no recipe at");
    await rm(dir, { recursive: true });
  });
});
