/** Which stage a run is in, told by its `run.json`: nothing in the product knows of it. */
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { UnitRecord } from "../../src/pipeline/run-state.ts";
import { STAGES } from "../../src/pipeline/stages/unit.ts";

/** What is done before the first unit, between two and after the last. */
export const BETWEEN = "between";

/** The stage of a unit: "polish-export:4" is the polish's. An import's units have the harvest's names. */
function stageOf(unit: string, run: string): string {
  const stage = STAGES.find(
    (name) => unit === name || (/^[:-]/.test(unit.slice(name.length)) && unit.startsWith(name)),
  );
  if (stage === "harvest" && run.startsWith("imported")) return "import";
  return stage ?? unit.split(":")[0];
}

/** Units of a run by id; none if there is no run. */
export function unitsOf(runFile: string): Record<string, UnitRecord> {
  try {
    return (JSON.parse(readFileSync(runFile, "utf8")) as { units: Record<string, UnitRecord> }).units;
  } catch {
    return {};
  }
}

/** The stage under way, or where the run was stopped. */
export function stageUnderWay(runFile: string): string {
  const running = Object.entries(unitsOf(runFile))
    .filter(([, { state }]) => state === "running")
    .sort(([, a], [, b]) => (a.startedAt < b.startedAt ? -1 : 1));
  const last = running.at(-1)?.[0];
  return last === undefined ? BETWEEN : stageOf(last, basename(dirname(runFile)));
}

/** Follows one process through its stages. */
export class StageClock {
  readonly #onBegin: (stage: string) => void;
  #stage = BETWEEN;
  #since = performance.now();
  /** seconds spent in each stage since `start` */
  seconds: Record<string, number> = {};

  constructor(onBegin: (stage: string) => void) {
    this.#onBegin = onBegin;
  }

  get stage(): string {
    return this.#stage;
  }

  start(): void {
    this.seconds = {};
    this.#since = performance.now();
    this.#stage = BETWEEN;
    this.#onBegin(BETWEEN);
  }

  /** Counts the time up to now. */
  stop(): void {
    const now = performance.now();
    this.seconds[this.#stage] = (this.seconds[this.#stage] ?? 0) + (now - this.#since) / 1000;
    this.#since = now;
  }

  /** `run.json` has been replaced. */
  look(runFile: string): void {
    this.stop();
    const stage = stageUnderWay(runFile);
    if (stage === this.#stage) return;
    this.#stage = stage;
    this.#onBegin(stage);
  }
}
