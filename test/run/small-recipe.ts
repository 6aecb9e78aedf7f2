/** A recipe that runs to its end in seconds on the embedded models, and the command line as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(ROOT, "src/cli/main.ts");
const ASSETS = join(ROOT, "assets/tiny-gemma");

/** Layer 4 alone, 6 000 tokens, 44 steps of 256 tokens with checkpoints, a resampling and a polish; a domain; all measured. */
export function smallRecipe(folder: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  const asset = (name: string) => relative(folder, join(ASSETS, name));
  const source = (name: string, kind: string, file: string) => ({
    name,
    kind,
    location: asset(`data/${file}.jsonl`),
  });
  return {
    name: "small",
    model: { source: asset("it") },
    baseModel: { source: asset("base") },
    sae: { from: asset("sae-base/layer_{layer}") },
    layers: [4],
    contextSize: 128,
    corpus: {
      tokens: 6000,
      sources: [source("prose", "text", "prose_train"), source("chat", "chat", "chat_train")],
    },
    train: {
      epochs: 2,
      batchTokens: 256,
      lr: 4e-4,
      deadAfterTokens: 3000,
      checkpointEverySteps: 7,
      guard: { everySteps: 10, tokens: 512 },
    },
    polish: { when: "always" },
    eval: {
      tokens: 1000,
      sets: [
        { name: "prose", sources: [source("prose", "text", "heldout_prose")] },
        { name: "chat", sources: [source("chat", "chat", "chat_heldout")] },
      ],
      domains: [
        { name: "code", tokens: 400, contextSize: 200, sources: [source("code", "text", "domain_code")] },
      ],
      splice: { tokens: 96 },
    },
    ...changes,
  };
}

/** A fresh folder with `small.yaml` in it. */
export async function smallRun(
  changes: Record<string, unknown> = {},
): Promise<{ folder: string; recipe: string }> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-run-"));
  const recipe = join(folder, "small.yaml");
  await writeFile(recipe, stringify(smallRecipe(folder, changes)));
  return { folder, recipe };
}

export interface Finished {
  /** null when a signal ended it */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What Node is given to run the command line: compiled from these very sources (`test/compiled.ts`), else the sources. */
function program(): string[] {
  const compiled = process.env.LAPIDARY_COMPILED;
  return compiled ? [join(compiled, "cli/main.js")] : ["--import", import.meta.resolve("tsx"), MAIN];
}

/** Starts `lapidary …` in `folder`. */
export function startCli(
  folder: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { child: ChildProcess; finished: Promise<Finished> } {
  const child = spawn(process.execPath, [...program(), ...args], {
    cwd: folder,
    env: { ...process.env, NO_COLOR: "1", ...env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (data) => {
    stdout += data;
  });
  child.stderr?.on("data", (data) => {
    stderr += data;
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
  return { child, finished };
}

export function cli(folder: string, ...args: readonly string[]): Promise<Finished> {
  return startCli(folder, args).finished;
}
