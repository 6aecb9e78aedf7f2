/** The run that faults are tried on: all stages of a recipe within a second or two. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { smallRecipe } from "../run/small-recipe.ts";

/** 1 500 tokens, six steps with three checkpoints, a polish; in a fresh folder, as `tiny.yaml`. */
export async function tinyRun(): Promise<{ folder: string; recipe: string }> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-faults-"));
  const { train, corpus, eval: held } = smallRecipe(folder) as Record<string, object>;
  const changes = {
    contextSize: 64,
    corpus: { ...corpus, tokens: 1500 },
    train: { ...train, epochs: 1, checkpointEverySteps: 2, guard: { everySteps: 3, tokens: 200 } },
    eval: { ...held, tokens: 250 },
  };
  const recipe = join(folder, "tiny.yaml");
  await writeFile(recipe, stringify(smallRecipe(folder, changes)));
  return { folder, recipe };
}

/** Of a run that met faults: its times, and a lock that nobody holds, which the next command takes over. */
export const LEFT_OUT = ["run.json", "run.lock"];
