/** SIGKILL from another thread of this process, at any moment: also while the main thread computes. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** [armed, called off, microseconds] */
const SCRIPT = `
const cell = new Int32Array(require("node:worker_threads").workerData);
for (;;) {
  Atomics.wait(cell, 0, 0);
  if (Atomics.wait(cell, 1, 0, cell[2] / 1000) === "timed-out") process.kill(process.pid, "SIGKILL");
}`;

export class Killer {
  readonly #cell = new Int32Array(new SharedArrayBuffer(12));

  /** Ready when it resolves: what comes after is the stage's own time. */
  static async start(): Promise<Killer> {
    const killer = new Killer();
    const worker = new Worker(SCRIPT, { eval: true, workerData: killer.#cell.buffer });
    await once(worker, "online");
    worker.unref();
    return killer;
  }

  killIn(microseconds: number): void {
    Atomics.store(this.#cell, 1, 0);
    Atomics.store(this.#cell, 2, microseconds);
    Atomics.store(this.#cell, 0, 1);
    Atomics.notify(this.#cell, 0);
  }

  callOff(): void {
    Atomics.store(this.#cell, 0, 0);
    Atomics.store(this.#cell, 1, 1);
    Atomics.notify(this.#cell, 1);
  }
}
