/** Runs fuzz targets in a thread, and stops what hangs. Behind the short test and `npm run fuzz`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { spawnWorker } from "../../src/worker-thread.ts";
import type { FuzzCounts, FuzzJob, FuzzThreadData } from "./worker.ts";

/** An input may take a second of the processor; after this long without the next one the thread is stopped. */
const HANG_MS = 60_000;
/** Loading the readers and making the seeds comes first, and takes long on a busy machine. */
const START_MS = 240_000;

/** One target at a time. The thread that loads the readers is kept for the next, unless a target hangs or ends it. */
export class Fuzzer {
  #folder: string | null = null;
  #worker: Worker | null = null;
  readonly #progress = new Int32Array(new SharedArrayBuffer(4));

  async fuzz(job: FuzzJob): Promise<FuzzCounts> {
    this.#folder ??= await mkdtemp(join(tmpdir(), "lapidary-fuzz-"));
    this.#worker ??= this.#start(this.#folder);
    const worker = this.#worker;
    const at = this.#progress.fill(-1);
    let last = -1;
    let since = performance.now();
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<FuzzCounts>((resolve, reject) => {
        timer = setInterval(() => {
          if (at[0] !== last) [last, since] = [at[0], performance.now()];
          else if (performance.now() - since > (last < 0 ? START_MS : HANG_MS)) reject(new Error("hangs"));
        }, 500);
        worker.once("message", resolve).once("error", reject);
        worker.postMessage(job);
      });
    } catch (error) {
      await this.#stop();
      return { refused: 0, read: 0, problems: [`input ${at[0]}: ${(error as Error).stack}`] };
    } finally {
      clearInterval(timer);
      worker.removeAllListeners("message").removeAllListeners("error"); // others are Node's own
    }
  }

  async close(): Promise<void> {
    await this.#stop();
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true });
  }

  #start(folder: string): Worker {
    const workerData: FuzzThreadData = { folder, progress: this.#progress.buffer as SharedArrayBuffer };
    return spawnWorker(new URL("./worker.ts", import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    });
  }

  async #stop(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = null;
  }
}
