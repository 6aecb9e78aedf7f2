/** Runs fuzz targets in threads, and stops what hangs. Behind the short test and `npm run fuzz`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnWorker } from "../../src/worker-thread.ts";
import type { FuzzCounts, FuzzJob } from "./worker.ts";

/** An input may take a second; after this long without the next one the thread is stopped. */
const HANG_MS = 15_000;
/** Loading the readers and making the seeds comes first, and takes long on a busy machine. */
const START_MS = 120_000;

/** Inputs [from, to) of one target. */
export async function fuzz(target: string, seed: number, from: number, to: number): Promise<FuzzCounts> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-fuzz-"));
  const progress = new SharedArrayBuffer(4);
  const workerData: FuzzJob = { target, seed, from, to, folder, progress };
  const worker = spawnWorker(new URL("./worker.ts", import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  const at = new Int32Array(progress).fill(-1);
  let last = -1;
  let since = performance.now();
  const failed = (what: string): FuzzCounts => ({
    refused: 0,
    read: 0,
    problems: [`input ${at[0]}: ${what}`],
  });
  try {
    return await new Promise((resolve) => {
      const timer = setInterval(() => {
        if (at[0] !== last) [last, since] = [at[0], performance.now()];
        else if (performance.now() - since > (last < 0 ? START_MS : HANG_MS)) resolve(failed("hangs"));
      }, 500);
      worker.once("message", (counts: FuzzCounts) => resolve(counts));
      worker.once("error", (error) => resolve(failed(String(error.stack))));
      worker.once("exit", () => clearInterval(timer));
    });
  } finally {
    await worker.terminate();
    await rm(folder, { recursive: true, force: true });
  }
}
