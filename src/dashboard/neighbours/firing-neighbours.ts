/**
 * Neighbours by firing of all latents of a block, in order: computed by worker threads where all entries are in memory, which
 * they share; here, a group of latents for each reading of the entries, where some are on disk. The same numbers either way.
 */
import type { Worker } from "node:worker_threads";
import { EngineError } from "../../errors.ts";
import { spawnWorker } from "../../worker-thread.ts";
import type { Entries, Segment } from "../entries/entries.ts";
import type { FromFiringWorker, ToFiringWorker } from "./firing-messages.ts";
import { type FiringData, type FiringNeighbour, FiringSums, SUMS_BYTES } from "./firing-together.ts";

export interface FiringBudget {
  /** worker threads; 0: none, this thread computes. Used where all entries are in memory */
  readonly threads: number;
  /** for the sums of a group of latents where entries are on disk; one latent at least */
  readonly sumsBytes: number;
}

/** Latents that a worker is given at a time, and ranges that are under way for each worker. */
const RANGE = 64;
const RANGES_EACH = 3;

/** Opened once an index; blocks come one after the other. */
export class FiringNeighbours {
  readonly #entries: Entries;
  readonly #budget: FiringBudget;
  readonly #workers: FiringWorker[] = [];

  private constructor(entries: Entries, budget: FiringBudget) {
    this.#entries = entries;
    this.#budget = budget;
  }

  static async open(entries: Entries, budget: FiringBudget): Promise<FiringNeighbours> {
    const opened = new FiringNeighbours(entries, budget);
    if (entries.isResident && budget.threads > 0) {
      const segments = await Promise.all(
        Array.from({ length: entries.nSegments }, (_, i) => entries.segment(i)),
      );
      for (let i = 0; i < budget.threads; i++) opened.#workers.push(new FiringWorker(segments));
    }
    return opened;
  }

  /** Of each latent of the block, ascending. */
  async *of(data: FiringData): AsyncGenerator<readonly FiringNeighbour[]> {
    if (this.#workers.length > 0) yield* this.#byWorkers(data);
    else yield* this.#here(data);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  async *#here(data: FiringData): AsyncGenerator<readonly FiringNeighbour[]> {
    const { block, totals } = data;
    const fitting = Math.floor(this.#budget.sumsBytes / (SUMS_BYTES * totals.count.length));
    const group = this.#entries.isResident ? 1 : Math.max(1, Math.min(fitting, block.to - block.from));
    const sums = new FiringSums(data, group);
    for (let from = block.from; from < block.to; from += group)
      yield* await sums.of(from, Math.min(block.to, from + group), this.#segments());
  }

  async *#segments(): AsyncGenerator<Segment> {
    for (let s = 0; s < this.#entries.nSegments; s++) yield await this.#entries.segment(s);
  }

  async *#byWorkers(data: FiringData): AsyncGenerator<readonly FiringNeighbour[]> {
    const { from: first, to: end } = data.block;
    for (const worker of this.#workers) worker.begin(data);
    const underWay: Promise<FiringNeighbour[][]>[] = [];
    let next = first;
    const ask = () => {
      const to = Math.min(end, next + RANGE);
      const worker = this.#workers[Math.floor((next - first) / RANGE) % this.#workers.length];
      const asked = worker.range(next, to);
      asked.catch(() => {}); // told when its turn comes
      underWay.push(asked);
      next = to;
    };
    while (next < end && underWay.length < RANGES_EACH * this.#workers.length) ask();
    while (underWay.length > 0) {
      const found = await underWay.shift()!;
      if (next < end) ask();
      yield* found;
    }
  }
}

/** One worker; it answers in the order in which it is asked. */
class FiringWorker {
  readonly #worker: Worker;
  readonly #waiting: {
    resolve: (found: FiringNeighbour[][]) => void;
    reject: (error: Error) => void;
  }[] = [];
  #failure: Error | null = null;

  constructor(segments: readonly Segment[]) {
    this.#worker = spawnWorker(new URL("./firing-worker.ts", import.meta.url), { workerData: segments });
    this.#worker.on("message", (found: FromFiringWorker) => this.#waiting.shift()?.resolve(found));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => this.#fail(new EngineError("a worker that sums up latents has stopped")));
  }

  begin(data: FiringData): void {
    this.#post({ kind: "block", data });
  }

  range(from: number, to: number): Promise<FiringNeighbour[][]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#post({ kind: "range", from, to });
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #post(message: ToFiringWorker): void {
    this.#worker.postMessage(message);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
