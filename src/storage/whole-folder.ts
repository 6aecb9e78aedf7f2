/** Folders that are whole or absent: filled under a temporary name, then renamed, in place of an older one of its kind. */
import { readdir, rename, rm, stat } from "node:fs/promises";
import { StateError } from "../errors.ts";
import { commitFolder, temporaryName } from "./atomic.ts";
import { fileError, statIfPresent } from "./file-error.ts";

/** What may be replaced. */
export interface Replaceable {
  /** for messages, e.g. "an SAE directory" */
  readonly what: string;
  /** the only names that may lie in a folder that is replaced */
  readonly names: readonly string[];
}

/**
 * `fill` writes into a temporary folder, which then becomes `dir`. If it throws, `dir` stays as it was.
 * @throws {StateError} `dir` holds something else than what may be replaced
 */
export async function writeFolder<T>(
  dir: string,
  old: Replaceable,
  fill: (folder: string) => Promise<T>,
): Promise<T> {
  await checkReplaceable(dir, old);
  const folder = temporaryName(dir);
  try {
    const filled = await fill(folder);
    await replaceFolder(folder, dir);
    return filled;
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => {}); // the first error says more
    throw fileError(error, dir);
  }
}

async function checkReplaceable(dir: string, { what, names }: Replaceable): Promise<void> {
  if ((await statIfPresent(dir)) === null) return;
  const entries = (await stat(dir)).isDirectory() ? await readdir(dir) : [`(the file ${dir})`];
  const foreign = entries.filter((name) => !names.includes(name));
  if (foreign.length > 0)
    throw new StateError(
      `${dir} is not ${what} to be replaced: it holds ${foreign.slice(0, 5).join(", ")}`,
      "save under another name, or remove it",
    );
}

async function replaceFolder(from: string, to: string): Promise<void> {
  if ((await statIfPresent(to)) === null) return commitFolder(from, to);
  const old = temporaryName(to);
  await rename(to, old);
  try {
    await commitFolder(from, to);
  } catch (error) {
    await rename(old, to);
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}
