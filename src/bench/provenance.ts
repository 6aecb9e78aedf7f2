/** What a figure says beside itself: date, machine, commit, versions. And where it is kept. */
import { execFileSync } from "node:child_process";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeJson } from "../storage/atomic.ts";
import { readJson } from "../storage/json.ts";
import type { Figures } from "./bench.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Provenance {
  /** ISO 8601, UTC */
  readonly date: string;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly platform: string;
  };
  /** With a + where tracked files differ from it; null outside a clone. */
  readonly commit: string | null;
  readonly versions: Readonly<Record<string, string>>;
}

export type StoredFigures = Provenance & Figures;

export async function provenance(): Promise<Provenance> {
  const { version } = await readJson<{ version: string }>(join(ROOT, "package.json"));
  return {
    date: new Date().toISOString(),
    machine: {
      processor: cpus()[0]?.model.trim() || "unknown processor",
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      platform: `${platform()}-${arch()}`,
    },
    commit: commit(),
    versions: { lapidary: version, node: process.versions.node },
  };
}

/** Writes `<folder>/<bench>-<variant>-<date>-<processor>.json` and returns its path. @throws {ResourceError} the file system refused */
export async function saveFigures(folder: string, variant: string, stored: StoredFigures): Promise<string> {
  const processor = stored.machine.processor.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const parts = [stored.bench, variant, stored.date.slice(0, 10), processor];
  const path = join(folder, `${parts.filter((part) => part !== "").join("-")}.json`);
  await writeJson(path, stored);
  return path;
}

function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const isChanged = git("status", "--porcelain", "--untracked-files=no", "--", ".") !== "";
    return git("rev-parse", "--short=12", "HEAD") + (isChanged ? "+" : "");
  } catch {
    return null;
  }
}
