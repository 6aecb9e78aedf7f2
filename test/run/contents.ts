/** What a run's folder holds, to compare runs bit by bit. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { hashBytes, hashFile } from "../../src/storage/hash.ts";
import { canonicalJson } from "../../src/storage/json.ts";

/**
 * Hash of every file of a finished run but those in `leftOut`, without what no two runs share: times, the run's name, and
 * the notes of a run that met a damaged checkpoint. Temporary files show as files that another run has not.
 */
export async function contentsOf(
  run: string,
  name: string,
  leftOut: readonly string[] = [],
): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const file of (await readdir(run, { recursive: true })).sort()) {
    const path = join(run, file);
    if (!(await stat(path)).isFile() || leftOut.includes(file)) continue;
    const comparable = COMPARABLE[basename(file)];
    if (comparable === undefined) hashes.set(file, await hashFile(path));
    else hashes.set(file, hashBytes(comparable(await readFile(path, "utf8"), name)));
  }
  return hashes;
}

/** The part of a file that two runs of one recipe share. */
const COMPARABLE: Readonly<Record<string, (text: string, name: string) => string>> = {
  "recipe.yaml": (text, name) => text.replaceAll(name, "NAME"),
  "README.md": (text, name) => text.replaceAll(name, "NAME"),
  "run.json": (text, name) =>
    without(text, ["startedAt", "finishedAt", "seconds", "unitsHash"]).replaceAll(name, "NAME"),
  // a function of the files that are compared here; it shows those notes, and the hashes of the files that hold them
  "index.html": () => "a report",
  // the logs are compared themselves; what is said of them is not, since a line may be a note
  "checkpoint.json": (text) => without(text, ["seconds", "logs", "recordHash"]),
  "events.jsonl": (text) =>
    text
      .split("\n")
      .filter((line) => !line.includes('"event":"checkpoint-damaged"'))
      .join("\n"),
};

/** JSON without some keys, those that are left in one order: units are recorded in the order they were begun in. */
function without(json: string, keys: readonly string[]): string {
  const rest: unknown = JSON.parse(json, (key, value: unknown) => (keys.includes(key) ? undefined : value));
  return canonicalJson(rest);
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
