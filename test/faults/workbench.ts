/**
 * What faults are tried on: the tiny run as it stands before each of its stages, how many operations and how much time
 * each stage takes, and what an undisturbed run leaves. Stages are the product's own list: a new one is tried unasked.
 */
import { spawnSync } from "node:child_process";
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { STAGES } from "../../src/pipeline/stages/unit.ts";
import { contentsOf } from "../run/contents.ts";
import { ROOT } from "../run/small-recipe.ts";
import type { Answer } from "./child.ts";
import type { Counts } from "./failures.ts";
import { type Died, FaultyRuns } from "./faulty-run.ts";
import { BETWEEN } from "./stage-clock.ts";
import { LEFT_OUT, tinyRun } from "./tiny-run.ts";

/** A stage of the tiny run. */
export interface StageFacts {
  readonly name: string;
  readonly recipe: string;
  /** name that runs of this recipe get */
  readonly run: string;
  /** folders of the run before the stage (null: nothing is there yet) and after it */
  readonly before: string | null;
  readonly after: string;
  readonly counts: Counts;
  readonly seconds: number;
  /** what the run's folder holds after the stage, and in the end */
  readonly expectedAfter: ReadonlyMap<string, string>;
  readonly expected: ReadonlyMap<string, string>;
}

export interface Workbench {
  readonly folder: string;
  readonly runsFolder: string;
  readonly runs: FaultyRuns;
  readonly stages: readonly StageFacts[];
  /** stages that the tiny run does not go through */
  readonly absent: readonly string[];
  /** a mounted tmpfs, or why there is none */
  readonly disk: { readonly path: string } | { readonly missing: string };
  close(): Promise<void>;
}

const DISK_MEGABYTES = 48;

export async function openWorkbench(): Promise<Workbench> {
  const { folder, recipe, importing } = await tinyRun();
  const runsFolder = join(folder, "runs");
  const mounted = await mountDisk(join(folder, "disk"));
  const disk = "path" in mounted ? mounted.path : undefined;
  const inputs = [join(ROOT, "assets"), join(folder, "sae-base"), join(folder, "dumps")];
  const runs = new FaultyRuns({ runs: runsFolder, disk, inputs });
  const close = async () => {
    runs.close();
    if (disk !== undefined) spawnSync("umount", ["--lazy", disk]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const own = await stageByStage({ folder, runs, recipe, run: "struck" });
    const after = (stage: string) => own.stages.find(({ name }) => name === stage)!.after;
    await cp(join(after("harvest"), "activations"), join(folder, "dumps"), { recursive: true });
    const other = await stageByStage({ folder, runs, recipe: importing, run: "imported" });
    const stages = [...own.stages, ...other.stages.filter(({ name }) => name === "import")];
    return { folder, runsFolder, runs, stages, absent: own.absent, disk: mounted, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs a recipe stage by stage, with a copy of its folder after each; the last one is what every run must leave. */
async function stageByStage(of: { folder: string; runs: FaultyRuns; recipe: string; run: string }) {
  const { folder, runs, recipe, run } = of;
  const here = join(folder, "runs", run);
  const go = (...more: string[]) =>
    runs.run({ folder, args: ["run", recipe, "--set", `name=${run}`, ...more], fault: null }).then(wellDone);
  const stages: Omit<StageFacts, "expected">[] = [];
  const absent: string[] = [];
  let before: string | null = null;
  for (const stage of STAGES) {
    const { counts, seconds } = await go("--only", stage);
    const name = stage === "harvest" && run === "imported" ? "import" : stage;
    if (counts[name] === undefined) {
      absent.push(name);
      continue;
    }
    const after = join(folder, "stages", `${stages.length}-${name}`, run);
    await mkdir(dirname(after), { recursive: true });
    await cp(here, after, { recursive: true, preserveTimestamps: true });
    const expectedAfter = await contentsOf(here, run, LEFT_OUT);
    const facts = { counts: counts[name], seconds: seconds[name], expectedAfter };
    stages.push({ name, recipe, run, before, after, ...facts });
    before = after;
  }
  const { counts, seconds } = await go();
  const expected = await contentsOf(here, run, LEFT_OUT);
  const idle = { counts: counts[BETWEEN], seconds: seconds[BETWEEN], expectedAfter: expected };
  stages.push({ name: BETWEEN, recipe, run, before, after: before!, ...idle });
  await rm(here, { recursive: true });
  return { stages: stages.map((stage) => ({ ...stage, expected })), absent };
}

function wellDone(answer: Answer | Died): Answer {
  if ("died" in answer || answer.code !== 0) throw new Error(answer.stderr);
  return answer;
}

async function mountDisk(path: string): Promise<Workbench["disk"]> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return { missing: "needs root on Linux" };
  await mkdir(path);
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MEGABYTES}m`, "tmpfs", path]);
  return status === 0 ? { path } : { missing: "mount is not permitted here" };
}
