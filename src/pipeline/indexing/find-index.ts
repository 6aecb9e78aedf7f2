/** Which latent index is meant: a folder of one, or one of those that a run holds. */
import { readdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { INDEX_MANIFEST } from "../../dashboard/index-manifest.ts";
import { RecipeError, StateError } from "../../errors.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { statIfPresent } from "../../storage/file-error.ts";

/** Of a run's indexes, which. */
export interface WhichIndex {
  /** default: the only one there is */
  readonly layer?: number;
  /** the SAE's that the layer was trained from, instead of the final one */
  readonly before?: boolean;
}

/** Whether `dir` is the folder of an index. */
export async function isIndexFolder(dir: string): Promise<boolean> {
  return (await statIfPresent(join(dir, INDEX_MANIFEST))) !== null;
}

/**
 * The folder of the index at `path`: itself, or of a run the one asked for.
 * @throws {StateError} there is none  @throws {RecipeError} there are several, or it needs no choosing
 */
export async function findIndex(path: string, { layer, before }: WhichIndex = {}): Promise<string> {
  const dir = resolve(path);
  if (await isIndexFolder(dir)) {
    if (layer !== undefined || before)
      throw new RecipeError(`${path} is an index already`, "--layer and --before choose one of a run's");
    return dir;
  }
  const there = await indexesIn(join(dir, "index"));
  const phase = before ? "before" : "after";
  const found = there.filter((folder) =>
    layer === undefined
      ? folder.endsWith(`.${phase}`)
      : basename(folder) === `${canonicalHookName(layer)}.${phase}`,
  );
  if (found.length === 1) return found[0];
  const has = there.map((folder) => basename(folder)).join(", ");
  if (found.length > 1)
    throw new RecipeError(`${path} holds several indexes: ${has}`, "say which layer is meant: --layer N");
  throw new StateError(
    `${path} holds no such latent index${has === "" ? "" : `; it has ${has}`}`,
    `make it: lapidary index ${path}`,
  );
}

async function indexesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder).catch(() => [])).sort())
    if (await isIndexFolder(join(folder, name))) found.push(join(folder, name));
  return found;
}
