/**
 * An append-only JSON-lines file that knows its length and hash: a checkpoint records them, and resuming cuts the file
 * back to that length, so that an interrupted run leaves the same lines as an undisturbed one. No line carries a time.
 */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, readFile, truncate } from "node:fs/promises";
import { FormatError, StateError } from "../errors.ts";
import { fileError, statIfPresent } from "../storage/file-error.ts";
import { addToHash } from "../storage/hash.ts";

/** How far a log had come: its bytes, and what they hash to. */
export interface LogMark {
  readonly bytes: number;
  /** null: written before logs were hashed; only their length is known */
  readonly sha256: string | null;
}

/**
 * Holds a log to its mark, whatever follows it; returns the hash of its bytes up to there, to go on with.
 * @throws {StateError} lines are gone, or others
 */
export async function checkLog(path: string, mark: LogMark): Promise<Hash> {
  const size = (await statIfPresent(path))?.size ?? 0;
  const hint = "put the file back, or remove the checkpoints beside it to start over";
  if (size < mark.bytes)
    throw new StateError(`${path} has ${size} bytes, the checkpoint was written at ${mark.bytes}`, hint);
  const hash = createHash("sha256");
  if (mark.bytes > 0) await addToHash(hash, path, mark.bytes);
  if (mark.sha256 !== null && hash.copy().digest("hex") !== mark.sha256)
    throw new StateError(`${path} is not what it was at the checkpoint (sha-256 differs)`, hint);
  return hash;
}

/** A line of `events.jsonl`. */
export interface RunEvent extends Readonly<Record<string, unknown>> {
  readonly event: string;
  /** steps done */
  readonly step: number;
}

/** Logs longer than this are not read: they are no logs of a training. */
const MAX_LOG_BYTES = 1 << 30;

/** The records of a JSON-lines file; a last line without its end is being written, and is left out. Null: no such file. */
export async function readJsonLines<Line>(path: string): Promise<Line[] | null> {
  const info = await statIfPresent(path);
  if (info === null) return null;
  if (info.size > MAX_LOG_BYTES)
    throw new FormatError(path, `${info.size} bytes of log, at most ${MAX_LOG_BYTES} are read`);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw fileError(error, path);
  });
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .flatMap((line, i) => {
      if (line === "") return [];
      try {
        return [JSON.parse(line) as Line];
      } catch (cause) {
        throw new FormatError(path, `line ${i + 1} is not JSON`, { cause });
      }
    });
}

export class JsonLines {
  readonly path: string;
  readonly #file: FileHandle;
  /** of all bytes so far */
  readonly #hash: Hash;
  #bytes: number;

  private constructor(path: string, file: FileHandle, bytes: number, hash: Hash) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
    this.#hash = hash;
  }

  /**
   * Opens the file and cuts it back to `mark`; null: an empty one is begun.
   * @throws {StateError} the lines that belong to the checkpoint are gone, or others
   */
  static async open(path: string, mark: LogMark | null): Promise<JsonLines> {
    const hash = mark === null ? createHash("sha256") : await checkLog(path, mark);
    const bytes = mark?.bytes ?? 0;
    try {
      if (((await statIfPresent(path))?.size ?? 0) > bytes) await truncate(path, bytes);
      return new JsonLines(path, await open(path, "a"), bytes, hash);
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /** Where the file stands now. */
  get mark(): LogMark {
    return { bytes: this.#bytes, sha256: this.#hash.copy().digest("hex") };
  }

  async append(record: Readonly<Record<string, unknown>>): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    await this.#file.appendFile(line).catch((error: unknown) => {
      throw fileError(error, this.path);
    });
    this.#bytes += line.length;
    this.#hash.update(line);
  }

  /** Makes every line so far durable. */
  async sync(): Promise<void> {
    await this.#file.sync().catch((error: unknown) => {
      throw fileError(error, this.path);
    });
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
