/**
 * Checkpoints: folders `step-00001234/` that are whole or absent, beside the run's two log files.
 *
 *   step-00001234/
 *     weights.safetensors  moments.safetensors  counters.safetensors
 *     checkpoint.json      the rest of the state, and every other file's size and sha-256; written last
 *
 * A folder is filled under a temporary name, synced and renamed. Whatever is not whole is swept on start; of what does
 * not look like a checkpoint nothing is touched.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError, StateError } from "../errors.ts";
import type { Engine, NumericClass } from "../kernels/kernels.ts";
import { commitFolder, temporaryName, writeJson } from "../storage/atomic.ts";
import { fileError, isAbsent, statIfPresent } from "../storage/file-error.ts";
import { hashFile, hashValue } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import { type WrittenFile, writeTensors } from "./checkpoint-tensors.ts";
import type { GuardState } from "./guard.ts";
import type { LogMark } from "./log.ts";
import type { NewcomersState } from "./newcomers.ts";
import type { AuditState, Incident, ResamplingNote } from "./progress.ts";
import type { RunIdentity } from "./run-identity.ts";
import type { WatchState } from "./watch.ts";

/** What a run has come to, beside its tensors and counters. */
export interface TrainState {
  /** steps done; the next one reads batch `step mod batchesPerEpoch` of epoch `⌊step / batchesPerEpoch⌋` */
  readonly step: number;
  readonly tokens: number;
  /** f64 */
  readonly threshold: number;
  /** latents dead by the token count */
  readonly dead: number;
  readonly guard: GuardState | null;
  /** with a watch only; a run begun before there was one has none yet */
  readonly watch?: WatchState;
  /** while those of the last resampling are watched */
  readonly newcomers?: NewcomersState;
  /** so far; absent: none */
  readonly resamplings?: readonly ResamplingNote[];
  /** why training ends with this step, before its last */
  readonly stoppedEarly?: string;
  /** how often the guard has gone back; with the first, resampling ends */
  readonly rollbacks: number;
  readonly incidents: readonly Incident[];
  /** with statistical screening only */
  readonly audit?: AuditState;
  /** wall-clock time so far; the one number here that is not reproducible */
  readonly seconds: number;
}

export interface LogMarks {
  readonly metrics: LogMark;
  readonly events: LogMark;
}

/** `checkpoint.json`. */
export interface CheckpointRecord {
  readonly format: "lapidary-checkpoint";
  readonly version: 1;
  readonly state: TrainState;
  /** where the reader stands: the batch that the next step will read */
  readonly reader: { readonly epoch: number; readonly batch: number };
  readonly finished: boolean;
  readonly numericClass: NumericClass;
  readonly engine: string;
  /** hash of `run` */
  readonly runHash: string;
  readonly run: RunIdentity;
  /** what of metrics.jsonl and events.jsonl belongs to this state */
  readonly logs: LogMarks;
  readonly files: readonly WrittenFile[];
  /** hash of all the rest of this record but `state.seconds` */
  readonly recordHash: string;
}

export interface Checkpoint {
  readonly dir: string;
  readonly record: CheckpointRecord;
}

const NAME = /^step-(\d{8,})$/;
const TEMPORARY = /^step-\d{8,}\..*\.tmp$/;
const RECORD_FILE = "checkpoint.json";

export function checkpointDir(dir: string, step: number): string {
  return join(dir, `step-${String(step).padStart(8, "0")}`);
}

/** Writes the checkpoint of `facts.state`, which must not exist yet: all of it, or nothing. */
export async function writeCheckpoint(
  dir: string,
  engine: Engine,
  tokensSinceFired: Float64Array,
  facts: { state: TrainState; run: RunIdentity; logs: LogMarks; finished: boolean },
): Promise<Checkpoint> {
  const { state, run } = facts;
  const to = checkpointDir(dir, state.step);
  await mkdir(dir, { recursive: true });
  const temporary = temporaryName(to);
  try {
    await mkdir(temporary);
    const files = await writeTensors(temporary, engine, tokensSinceFired);
    const content: Omit<CheckpointRecord, "recordHash"> = {
      format: "lapidary-checkpoint",
      version: 1,
      state,
      reader: {
        epoch: Math.floor(state.step / run.batchesPerEpoch),
        batch: state.step % run.batchesPerEpoch,
      },
      finished: facts.finished,
      numericClass: engine.numericClass,
      engine: engine.description,
      runHash: hashValue(run),
      run,
      logs: facts.logs,
      files,
    };
    const record: CheckpointRecord = { ...content, recordHash: hashOf(content) };
    await writeJson(join(temporary, RECORD_FILE), record);
    await commitFolder(temporary, to);
    return { dir: to, record };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw fileError(error, to);
  }
}

/**
 * Whole checkpoints in `dir`, oldest first: the record is what was written, every file it names is there in its full size.
 * A missing folder holds none.
 */
export async function listCheckpoints(dir: string): Promise<Checkpoint[]> {
  const found: Checkpoint[] = [];
  for (const name of (await namesIn(dir)).filter((name) => NAME.test(name))) {
    const record = await readRecord(join(dir, name));
    if (record !== null) found.push({ dir: join(dir, name), record });
  }
  return found.sort((a, b) => a.record.state.step - b.record.state.step);
}

/** As `listCheckpoints`, after removing torn checkpoints and temporary folders. */
export async function sweepCheckpoints(dir: string): Promise<Checkpoint[]> {
  const whole = await listCheckpoints(dir);
  const kept = new Set(whole.map((checkpoint) => basename(checkpoint.dir)));
  for (const name of await namesIn(dir)) {
    const torn = NAME.test(name) && !kept.has(name);
    if (torn || TEMPORARY.test(name)) await rm(join(dir, name), { recursive: true, force: true });
  }
  return whole;
}

/** The first file whose bytes are not what the record says, or null. Reads all of them. */
export async function findDamage({ dir, record }: Checkpoint): Promise<string | null> {
  for (const file of record.files) {
    if ((await hashFile(join(dir, file.name))) !== file.sha256) return join(dir, file.name);
  }
  return null;
}

/** @throws {StateError} a file's bytes are not what the record says */
export async function verifyCheckpoint(checkpoint: Checkpoint): Promise<void> {
  const damaged = await findDamage(checkpoint);
  if (damaged !== null) throw damageError(damaged);
}

/** The same of one of its files. */
export async function verifyFile({ dir, record }: Checkpoint, name: string): Promise<void> {
  const path = join(dir, name);
  const recorded = record.files.find((file) => file.name === name)?.sha256;
  if ((await hashFile(path)) !== recorded) throw damageError(path);
}

function damageError(path: string): StateError {
  return new StateError(
    `${path} is not what its checkpoint recorded (sha-256 differs)`,
    `the disk has lost data; remove ${dirname(path)} to go on from an older checkpoint`,
  );
}

export async function removeCheckpoint(checkpoint: Checkpoint): Promise<void> {
  await rm(checkpoint.dir, { recursive: true, force: true });
}

/**
 * Removes what is not needed any more. Kept while training: the last two, and the last one at an epoch boundary (where
 * the guard goes back to). Kept once finished: the final one. Of each that is kept, also the one that it says was the best.
 */
export async function pruneCheckpoints(dir: string): Promise<void> {
  const all = await listCheckpoints(dir);
  const newest = all.at(-1);
  if (newest === undefined) return;
  const boundary = all.findLast(({ record }) => record.reader.batch === 0);
  const kept = newest.record.finished ? [newest] : [...all.slice(-2), boundary];
  const best = new Set(kept.map((checkpoint) => checkpoint?.record.state.watch?.best?.step));
  for (const checkpoint of all) {
    if (kept.includes(checkpoint) || best.has(checkpoint.record.state.step)) continue;
    await removeCheckpoint(checkpoint);
  }
}

/** Of everything but the time it took: the same steps give the same hash. */
function hashOf(content: Omit<CheckpointRecord, "recordHash">): string {
  return hashValue({ ...content, state: { ...content.state, seconds: 0 } });
}

async function readRecord(dir: string): Promise<CheckpointRecord | null> {
  const record = await readJson<CheckpointRecord>(join(dir, RECORD_FILE)).catch((error: unknown) => {
    if (error instanceof FormatError) return null; // absent or torn; a disk that cannot be read is neither
    throw error;
  });
  if (record?.format !== "lapidary-checkpoint") return null;
  if (record.version !== 1) {
    throw new StateError(`${dir} is a checkpoint of version ${record.version}, version 1 is read`);
  }
  const { recordHash, ...content } = record;
  if (!Array.isArray(record.files) || recordHash !== hashOf(content)) return null;
  for (const { name, bytes } of record.files) {
    if (basename(name) !== name) return null;
    const info = await statIfPresent(join(dir, name));
    if (info?.size !== bytes) return null;
  }
  const { metrics, events } = record.logs;
  return { ...record, logs: { metrics: markOf(metrics), events: markOf(events) } };
}

/** Versions before logs were hashed recorded their length alone. */
function markOf(recorded: LogMark | number): LogMark {
  return typeof recorded === "number" ? { bytes: recorded, sha256: null } : recorded;
}

async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (isAbsent(error)) return [];
    throw fileError(error, dir);
  });
}
