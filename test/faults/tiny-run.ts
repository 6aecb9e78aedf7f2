/** The run that faults are tried on: all stages of a recipe within a second or two, and what its folder must hold in the end. */
import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { hashBytes, hashFile } from "../../src/storage/hash.ts";
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

/**
 * Hash of every file of a finished run but `run.json`, which holds times, and the lock (one that nobody holds is taken over); checkpoints without their seconds, texts
 * without the run's name. Temporary files would show as files that another run has not.
 */
export async function contentsOf(run: string, name: string): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const file of (await readdir(run, { recursive: true })).sort()) {
    const path = join(run, file);
    if (!(await stat(path)).isFile() || file === "run.json" || file === "run.lock") continue;
    if (/(checkpoint\.json|recipe\.yaml|README\.md)$/.test(file)) {
      const text = (await readFile(path, "utf8"))
        .replaceAll(name, "NAME")
        .replace(/"seconds": [\d.e-]+/g, '"seconds": 0');
      hashes.set(file, hashBytes(text));
    } else hashes.set(file, await hashFile(path));
  }
  return hashes;
}

/** Files that differ between two runs, in words; empty: the same bits. */
export function differences(
  expected: ReadonlyMap<string, string>,
  found: ReadonlyMap<string, string>,
): string[] {
  const missing = [...expected.keys()].filter((file) => !found.has(file)).map((file) => `${file} is missing`);
  const extra = [...found.keys()]
    .filter((file) => !expected.has(file))
    .map((file) => `${file} was left behind`);
  const other = [...expected]
    .filter(([file, hash]) => found.has(file) && found.get(file) !== hash)
    .map(([file]) => `${file} differs`);
  return [...missing, ...extra, ...other];
}
