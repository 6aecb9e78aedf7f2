/**
 * Tokenising on a few worker threads, batch by batch, each document under a time limit. Answers come in the order of
 * the questions. A worker that stands still is ended: a repository's regular expression or template may never return.
 */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import { DataError } from "../errors.ts";
import { spawnWorker } from "../worker-thread.ts";
import type { DocumentContent } from "./document.ts";
import type { EncodedDocument } from "./document-encoder.ts";
import { readTokenizerFolder, type TokenizerFacts } from "./tokenizer-folder.ts";
import type { EncodeAnswer, EncodeRequest, WorkerMessage, WorkerStart } from "./tokenizer-worker.ts";

/** How many threads, and how long one document may take. */
export interface TokenizerPoolOptions {
  /** default 2, or 1 on a single core */
  readonly workers?: number;
  /** Milliseconds one document may take, beside 1 ms for each 20 characters; default 10 000. */
  readonly documentLimitMs?: number;
  /** milliseconds for loading the tokenizer; default 120 000 */
  readonly loadLimitMs?: number;
}

/** A document with where it stands, for messages. */
export type PlacedDocument = DocumentContent & { readonly place: string };

/** Largest heap of a worker: room for a vocabulary of 262 144 tokens, not for a template that fills memory. */
const MAX_HEAP_MB = 3072;
const POLL_MS = 50;
const CHARACTERS_PER_MS = 20;

/** The documents of a batch up to the first that cannot be encoded, and why not. */
export interface EncodedBatch {
  readonly encoded: readonly EncodedDocument[];
  readonly error: DataError | null;
}

interface Job {
  readonly documents: readonly PlacedDocument[];
  readonly resolve: (batch: EncodedBatch) => void;
  readonly reject: (error: Error) => void;
}

/** A tokenizer in worker threads; `close` it when done. */
export class TokenizerPool {
  readonly dir: string;
  readonly facts: TokenizerFacts;
  readonly workers: number;
  readonly #options: TokenizerPoolOptions;
  readonly #threads = new Set<TokenizerThread>();
  readonly #waiting: Job[] = [];
  #failure: Error | undefined;

  private constructor(dir: string, facts: TokenizerFacts, options: TokenizerPoolOptions) {
    this.dir = dir;
    this.facts = facts;
    this.workers = options.workers ?? Math.min(2, availableParallelism());
    this.#options = options;
  }

  /** Reads the facts of the tokenizer in `dir`; threads start with the first batches. */
  static async open(dir: string, options: TokenizerPoolOptions = {}): Promise<TokenizerPool> {
    const { facts } = await readTokenizerFolder(dir);
    return new TokenizerPool(dir, facts, options);
  }

  /** Tokens of a batch of documents. @throws {DataError} naming the document that could not be tokenised */
  async encode(documents: readonly PlacedDocument[]): Promise<readonly EncodedDocument[]> {
    const { encoded, error } = await this.encodeBatch(documents);
    if (error !== null) throw error;
    return encoded;
  }

  /**
   * As `encode`, but what stands before a refused document is not lost.
   * @throws {DataError} a document took too long, or the tokenizer is unusable: the pool is at its end
   */
  encodeBatch(documents: readonly PlacedDocument[]): Promise<EncodedBatch> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const result = new Promise<EncodedBatch>((resolve, reject) => {
      this.#waiting.push({ documents, resolve, reject });
    });
    this.#assign();
    return result;
  }

  /** Ends the threads; batches still waiting are rejected. */
  async close(): Promise<void> {
    await this.#stop(new DataError("the tokenizer was closed"));
  }

  #assign(): void {
    for (const thread of this.#threads)
      if (thread.isIdle && this.#waiting.length > 0) thread.run(this.#waiting.shift()!);
    while (this.#waiting.length > 0 && this.#threads.size < this.workers) {
      const thread = new TokenizerThread(this.dir, this.#options, {
        idle: () => this.#assign(),
        failed: (error) => void this.#stop(error),
      });
      this.#threads.add(thread);
      thread.run(this.#waiting.shift()!);
    }
  }

  async #stop(error: Error): Promise<void> {
    this.#failure ??= error;
    for (const job of this.#waiting.splice(0)) job.reject(error);
    const threads = [...this.#threads];
    this.#threads.clear();
    await Promise.all(threads.map((thread) => thread.end(error)));
  }
}

/** One worker and the batch it is at. */
class TokenizerThread {
  readonly #worker: Worker;
  readonly #progress = new Int32Array(new SharedArrayBuffer(4));
  readonly #options: TokenizerPoolOptions;
  readonly #events: { idle: () => void; failed: (error: Error) => void };
  #ready = false;
  #job: Job | undefined;
  #begun = 0;
  #watch: NodeJS.Timeout | undefined;

  constructor(
    dir: string,
    options: TokenizerPoolOptions,
    events: { idle: () => void; failed: (error: Error) => void },
  ) {
    this.#options = options;
    this.#events = events;
    const workerData: WorkerStart = { dir, progress: this.#progress };
    this.#worker = spawnWorker(new URL("./tokenizer-worker.ts", import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    this.#worker.on("message", (message: WorkerMessage) => this.#onMessage(message));
    this.#worker.on("error", (cause) =>
      this.#fail(`the tokenizer's thread ended: ${cause.message}`, { cause }),
    );
    const limit = options.loadLimitMs ?? 120_000;
    this.#watchUntil(
      () => this.#ready,
      () => limit,
      () => `the tokenizer in ${dir} did not load in ${limit / 1000} s`,
    );
  }

  get isIdle(): boolean {
    return this.#job === undefined;
  }

  run(job: Job): void {
    this.#job = job;
    if (this.#ready) this.#send(job);
  }

  async end(error: Error): Promise<void> {
    clearInterval(this.#watch);
    const job = this.#job;
    this.#job = undefined;
    job?.reject(error);
    await this.#worker.terminate();
  }

  #send(job: Job): void {
    this.#begun = Atomics.load(this.#progress, 0);
    const request: EncodeRequest = {
      documents: job.documents.map((document) =>
        document.messages === undefined
          ? { text: document.text }
          : { messages: document.messages, generationPrompt: document.generationPrompt },
      ),
    };
    this.#worker.postMessage(request);
    const limitOf = () =>
      (this.#options.documentLimitMs ?? 10_000) + charactersOf(this.#current(job)) / CHARACTERS_PER_MS;
    this.#watchUntil(
      () => this.#job !== job,
      limitOf,
      () =>
        `${this.#current(job).place}: tokenising took more than ${(limitOf() / 1000).toFixed(1)} s and was stopped`,
    );
  }

  /** The document the worker is at. */
  #current(job: Job): PlacedDocument {
    const number = Math.max(0, Atomics.load(this.#progress, 0) - this.#begun - 1);
    return job.documents[Math.min(number, job.documents.length - 1)];
  }

  /** Ends the worker if it makes no progress for as long as `limitMs` says. */
  #watchUntil(isDone: () => boolean, limitMs: () => number, complaint: () => string): void {
    clearInterval(this.#watch);
    let seen = Atomics.load(this.#progress, 0);
    let since = performance.now();
    this.#watch = setInterval(() => {
      const now = Atomics.load(this.#progress, 0);
      if (isDone()) clearInterval(this.#watch);
      else if (now !== seen) [seen, since] = [now, performance.now()];
      else if (performance.now() - since > limitMs())
        this.#fail(complaint(), {
          hint: "the tokenizer's regular expressions or its chat template do not end on this text; leave it out with fromDocument/toDocument",
        });
    }, POLL_MS);
  }

  #onMessage(message: WorkerMessage): void {
    const job = this.#job;
    if (message.kind === "ready") {
      this.#ready = true;
      clearInterval(this.#watch);
      if (job !== undefined) this.#send(job);
    } else if (message.kind === "unusable") {
      this.#fail(message.error.message, { hint: message.error.hint });
    } else if (job !== undefined) {
      clearInterval(this.#watch);
      this.#job = undefined;
      job.resolve(batchOf(job, message.answer));
      this.#events.idle();
    }
  }

  #fail(message: string, options: { hint?: string; cause?: unknown }): void {
    const error = new DataError(message, options);
    const job = this.#job;
    this.#job = undefined;
    clearInterval(this.#watch);
    job?.reject(error);
    this.#events.failed(error);
  }
}

function charactersOf(document: PlacedDocument): number {
  if (document.messages === undefined) return document.text.length;
  return document.messages.reduce((sum, message) => sum + message.content.length, 0);
}

function batchOf(job: Job, { tokenIds, roles, ends, error }: EncodeAnswer): EncodedBatch {
  const encoded = Array.from(ends, (end, i) => {
    const begin = i === 0 ? 0 : ends[i - 1];
    return { tokenIds: tokenIds.subarray(begin, end), roles: roles.subarray(begin, end) };
  });
  if (error === null) return { encoded, error: null };
  const { place } = job.documents[encoded.length];
  return { encoded, error: new DataError(`${place}: ${error.message}`, { hint: error.hint }) };
}
