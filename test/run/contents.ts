/** What a run's folder holds, to compare runs bit by bit. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { hashBytes, hashFile } from "../../src/storage/hash.ts";

/**
 * Hash of every file of a finished run but those in `leftOut` (`run.json` holds times); checkpoints without their seconds,
 * texts without the run's name. Temporary files show as files that another run has not.
 */
export async function contentsOf(
  run: string,
  name: string,
  leftOut: readonly string[] = ["run.json"],
): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const file of (await readdir(run, { recursive: true })).sort()) {
    const path = join(run, file);
    if (!(await stat(path)).isFile() || leftOut.includes(file)) continue;
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
