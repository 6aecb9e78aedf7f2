/**
 * An append-only JSON-lines file that knows its length: a checkpoint records it, and resuming cuts the file back to it,
 * so that an interrupted run leaves the same lines as an undisturbed one. No line carries a time.
 */
import { type FileHandle, open, truncate } from "node:fs/promises";
import { StateError } from "../errors.ts";
import { fileError, statIfPresent } from "../storage/file-error.ts";

export class JsonLines {
  readonly path: string;
  readonly #file: FileHandle;
  #bytes: number;

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
  }

  /**
   * Opens (or makes) the file and cuts it to its first `bytes` bytes.
   * @throws {StateError} it is shorter than that: lines that belong to the checkpoint are gone
   */
  static async open(path: string, bytes: number): Promise<JsonLines> {
    const size = (await statIfPresent(path))?.size ?? 0;
    if (size < bytes) {
      throw new StateError(
        `${path} has ${size} bytes, the checkpoint that training resumes from was written at ${bytes}`,
        "put the file back, or remove the checkpoints beside it to start over",
      );
    }
    try {
      if (size > bytes) await truncate(path, bytes);
      return new JsonLines(path, await open(path, "a"), bytes);
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /** Length of the file now. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(record: Readonly<Record<string, unknown>>): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    await this.#file.appendFile(line).catch((error: unknown) => {
      throw fileError(error, this.path);
    });
    this.#bytes += line.length;
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
