/**
 * `run.json`: what of a run is done. Work is divided into units ("train:4"); each records a hash of everything that
 * decides its result and, once done, what came out. Starting, resuming and re-running ask the same question of it: is
 * this unit done with these inputs? Rewritten atomically at every change.
 */
import { arch, cpus, platform, totalmem } from "node:os";
import { dirname, relative } from "node:path";
import { StateError } from "../errors.ts";
import { writeJson } from "../storage/atomic.ts";
import { type Difference, jsonDifferences } from "../storage/differences.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile, hashValue } from "../storage/hash.ts";
import { readJsonIfPresent } from "../storage/json.ts";

export interface UnitRecord {
  readonly state: "running" | "done";
  /** everything that decides the unit's result */
  readonly inputs: unknown;
  readonly inputsHash: string;
  /** what later units depend on: hashes of manifests, identities */
  readonly output: Readonly<Record<string, unknown>> | null;
  readonly startedAt: string;
  /** hashes of the files it left, by their path in the run; of units that nothing later replaces */
  readonly files?: Readonly<Record<string, string>>;
  readonly finishedAt: string | null;
  /** wall-clock seconds, added up over interruptions */
  readonly seconds: number;
}

/** Of run.json; 2: with a hash of the units. */
const VERSION = 2;

interface RunFile {
  format: "lapidary-run";
  version: typeof VERSION;
  name: string;
  machine: Record<string, unknown>;
  versions: Record<string, string>;
  units: Record<string, UnitRecord>;
  /** hash of the units: what a run builds on must be what was written */
  unitsHash: string;
}

export class RunState {
  readonly #path: string;
  readonly #file: RunFile;

  private constructor(path: string, file: RunFile) {
    this.#path = path;
    this.#file = file;
  }

  /** `versions`: of who goes to work on the run; null: it is only looked at, and what was recorded stays. */
  static async open(path: string, name: string, versions: Record<string, string> | null): Promise<RunState> {
    const file = await readJsonIfPresent<RunFile>(path);
    if (file !== undefined && (file?.format !== "lapidary-run" || file.version !== VERSION)) {
      throw new StateError(
        `${path} is not a run of this version of Lapidary`,
        "choose another name for the run",
      );
    }
    if (file !== undefined && !isWhole(file)) {
      throw new StateError(
        `${path} is damaged: its records do not hash to what it says`,
        "restore it, or delete it: what the run's folder holds is then recognised, or made again",
      );
    }
    const machine = {
      platform: platform(),
      arch: arch(),
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryBytes: totalmem(),
    };
    return new RunState(path, {
      units: {},
      unitsHash: hashValue({}),
      ...file,
      format: "lapidary-run",
      version: VERSION,
      name,
      ...(versions === null && file !== undefined
        ? { machine: file.machine, versions: file.versions }
        : { machine, versions: versions ?? {} }),
    });
  }

  /** what the run was last worked on with */
  get machine(): Readonly<Record<string, unknown>> {
    return this.#file.machine;
  }

  get versions(): Readonly<Record<string, string>> {
    return this.#file.versions;
  }

  get units(): Readonly<Record<string, UnitRecord>> {
    return this.#file.units;
  }

  /** Output of a finished unit. @throws {StateError} it is not finished */
  output(id: string): Readonly<Record<string, unknown>> {
    const record = this.#file.units[id];
    if (record?.state !== "done" || record.output === null) {
      const stage = /^polish/.test(id) ? "polish" : id.split(":")[0];
      throw new StateError(
        `stage ${stage} of this run is not done yet (${id})`,
        `run it first: lapidary run <recipe> --only ${stage}; or leave out --only`,
      );
    }
    return record.output;
  }

  /** Is the unit done with exactly these inputs, and are its files still there, and as it left them where that is recorded? */
  async isDone(id: string, inputs: unknown, files: readonly string[]): Promise<boolean> {
    const record = this.#file.units[id];
    if (record?.state !== "done" || record.inputsHash !== hashValue(inputs)) return false;
    for (const file of files) {
      if ((await statIfPresent(file)) === null) return false;
      const hash = record.files?.[this.#nameOf(file)];
      if (hash !== undefined && (await hashFile(file)) !== hash) return false;
    }
    return true;
  }

  /** Keys whose values differ from those the unit was begun with; empty when it is new or unchanged. */
  changes(id: string, inputs: unknown): Difference[] {
    const record = this.#file.units[id];
    if (record === undefined || record.inputsHash === hashValue(inputs)) return [];
    return jsonDifferences(record.inputs, inputs);
  }

  async begin(id: string, inputs: unknown): Promise<void> {
    const inputsHash = hashValue(inputs);
    const before = this.#file.units[id];
    const seconds = before?.inputsHash === inputsHash && before.state === "running" ? before.seconds : 0;
    this.#file.units[id] = {
      state: "running",
      inputs,
      inputsHash,
      output: null,
      startedAt: new Date().toISOString(),
      finishedAt: null,
      seconds,
    };
    await this.#save();
  }

  /** Adds up time of a unit that was interrupted. */
  async pause(id: string, seconds: number): Promise<void> {
    const record = this.#file.units[id];
    this.#file.units[id] = { ...record, seconds: record.seconds + seconds };
    await this.#save();
  }

  /** `files`: what the unit left for good; it is not done any more once one of them is another. */
  async finish(
    id: string,
    output: Readonly<Record<string, unknown>>,
    seconds: number,
    files: readonly string[] = [],
  ): Promise<void> {
    const record = this.#file.units[id];
    const hashes: Record<string, string> = {};
    for (const file of files) hashes[this.#nameOf(file)] = await hashFile(file);
    this.#file.units[id] = {
      ...record,
      state: "done",
      output,
      ...(files.length === 0 ? {} : { files: hashes }),
      finishedAt: new Date().toISOString(),
      seconds: record.seconds + seconds,
    };
    await this.#save();
  }

  /** Forgets units, so that they are made anew. */
  async forget(ids: readonly string[]): Promise<void> {
    for (const id of ids) delete this.#file.units[id];
    await this.#save();
  }

  #nameOf(file: string): string {
    return relative(dirname(this.#path), file);
  }

  async #save(): Promise<void> {
    this.#file.unitsHash = hashValue(this.#file.units);
    await writeJson(this.#path, this.#file);
  }
}

/** As it was written. */
function isWhole({ units, unitsHash }: RunFile): boolean {
  const isRecord = typeof units === "object" && units !== null && !Array.isArray(units);
  return isRecord && unitsHash === hashValue(units);
}
