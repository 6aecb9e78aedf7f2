/** What is right and what is wrong about how a run ended under a fault, and about what the next one leaves. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import type { StoreManifest } from "../../src/activations/activations.ts";
import type { Answer } from "./child.ts";
import { unitsOf } from "./stage-clock.ts";

/** The one line that says what failed, or null. */
export function errorLine({ stderr }: Pick<Answer, "stderr">): string | null {
  const lines = stderr.split("\n").filter((line) => line.startsWith("lapidary: "));
  return lines.length === 1 ? lines[0] : null;
}

/**
 * What is wrong with how a run ended, given that something failed under it. `named`: what the error line has to contain,
 * one of these.
 */
export function wrongs(answer: Answer, named: readonly (string | RegExp)[]): string[] {
  const { code, stderr, unhandled } = answer;
  const wrong = unhandled.map((stack) => `unhandled: ${stack}`);
  if (code === 0) return wrong;
  if (code !== 1) wrong.push(`exit code ${code}: ${stderr}`);
  const line = errorLine(answer);
  if (line === null) return [...wrong, `not one line "lapidary: …": ${stderr}`];
  if (/^\s+at /m.test(stderr)) wrong.push(`a stack: ${stderr}`);
  if (stderr.includes("this was not expected")) wrong.push(`not an error of ours: ${line}`);
  if (!named.some((name) => (typeof name === "string" ? line.includes(name) : name.test(line))))
    wrong.push(`names none of ${named.join(", ")}: ${line}`);
  return wrong;
}

/** The path and the folders it lies in, up to `root`, by the names that files get in the end. */
export function namesOf(path: string, root: string): string[] {
  const parts = relative(root, path).split(sep);
  if (parts[0] === "..") return [parts.at(-1)!];
  return parts
    .map((_, i) => join(root, ...parts.slice(0, i + 1)).replaceAll(/\.\d+-\d+\.tmp/g, ""))
    .toReversed();
}

/** Work of a run that is done for good: units, and the files that a unit's next start finds done. */
export interface Finished {
  /** when each finished unit was begun */
  readonly units: ReadonlyMap<string, string>;
  /** inode and time of each shard and checkpoint */
  readonly files: ReadonlyMap<string, string>;
}

const FOR_GOOD = /(^|\/)(shard-\d+\.safetensors|step-\d+\/[^/]+)$/;
const MANIFEST = "manifest.json";

export function finishedIn(run: string): Finished {
  const done = Object.entries(unitsOf(join(run, "run.json"))).filter(([, { state }]) => state === "done");
  const files = namesUnder(run).filter((file) => FOR_GOOD.test(file) && isNamed(run, file));
  return {
    units: new Map(done.map(([id, { startedAt }]) => [id, startedAt])),
    files: new Map(files.flatMap((file) => stampOf(run, file))),
  };
}

/** Finished work that was done again, in words. Files that are gone (older checkpoints) were not needed any more. */
export function doneAgain(before: Finished, after: Finished): string[] {
  const units = [...before.units].filter(([id, begun]) => after.units.get(id) !== begun);
  const files = [...before.files].filter(([file, stamp]) => (after.files.get(file) ?? stamp) !== stamp);
  return [...units, ...files].map(([what]) => `${what}: finished, and done again`);
}

function namesUnder(run: string): string[] {
  try {
    return readdirSync(run, { recursive: true }) as string[];
  } catch {
    return [];
  }
}

/** A shard counts once the manifest beside it says so. */
function isNamed(run: string, file: string): boolean {
  if (!basename(file).startsWith("shard-")) return true;
  try {
    const text = readFileSync(join(run, dirname(file), MANIFEST), "utf8");
    return (JSON.parse(text) as StoreManifest).shards.some(({ name }) => name === basename(file));
  } catch {
    return false;
  }
}

function stampOf(run: string, file: string): [string, string][] {
  const info = statSync(join(run, file), { throwIfNoEntry: false });
  return info === undefined ? [] : [[file, `${info.ino} ${info.mtimeMs}`]];
}
