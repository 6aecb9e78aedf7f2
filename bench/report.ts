/** What every bench says beside its numbers: the machine, the commit, the versions; and where it says it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export const quick = process.argv.includes("--quick");
const save = process.argv.includes("--save");

/** A line for people. */
export function say(line: string): void {
  process.stderr.write(line + "\n");
}

/** Prints the JSON document of a bench; with --save also keeps it under bench/results/. */
export function report(bench: string, results: Record<string, unknown>): void {
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { version: string };
  const document = {
    bench,
    quick,
    date: new Date().toISOString(),
    machine: {
      processor,
      cores: availableParallelism(),
      memoryGb: Math.round(totalmem() / 1e9),
      platform: `${platform()}-${arch()}`,
    },
    commit: commit(),
    versions: { lapidary: version, node: process.versions.node },
    ...results,
  };
  const text = JSON.stringify(document, null, 2) + "\n";
  process.stdout.write(text);
  if (!save) return;
  const folder = `${root}/bench/results`;
  const name = `${bench}-${document.date.slice(0, 10)}-${processor.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/${name}.json`, text);
}

/** The commit, with a + if files differ from it; null outside a clone. */
function commit(): string | null {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
    const changed = git("status", "--porcelain", "--untracked-files=no") !== "";
    return git("rev-parse", "--short=12", "HEAD") + (changed ? "+" : "");
  } catch {
    return null;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Rounded to three significant digits, to be read. */
export function round(value: number): number {
  return Number(value.toPrecision(3));
}
