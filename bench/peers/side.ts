/**
 * One side of a comparison: a program in a process of its own that does turns on request and says how long they took. Requests
 * and answers are one JSON object a line, on its standard input and output; what it prints for people comes through on stderr.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Peaks } from "../../src/bench/peaks.ts";

/** What a side says of the turns it was asked for; loss and l0 are the last one's. */
export interface Turns {
  readonly seconds: readonly number[];
  readonly loss: number | null;
  readonly l0: number;
  /** Of this side's process so far; null where the system does not say. */
  readonly peakMemoryBytes: number | null;
}

/** Its first answer, unasked. */
export type Ready = Readonly<Record<string, unknown>>;

export class Side {
  readonly name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<string>;

  constructor(name: string, command: string, args: readonly string[]) {
    this.name = name;
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin.on("error", () => {}); // the process has ended, which is told below
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#ended = new Promise((done) => {
      this.#child.on("error", (error) => done(`could not be started: ${error.message}`));
      this.#child.on("close", (code, signal) => done(`ended with ${signal ?? `code ${code}`}`));
    });
  }

  ready(): Promise<Ready> {
    return this.#answer() as Promise<Ready>;
  }

  /** @throws {Error} the process ended instead of answering */
  ask(request: { count: number }): Promise<Turns>;
  ask(request: { write: string }): Promise<Ready>;
  ask(request: { peaks: true }): Promise<{ readonly peaks: Peaks | null }>;
  ask(request: object): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#answer();
  }

  /** Lets the process end. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }

  async #answer(): Promise<unknown> {
    const next = await Promise.race([this.#lines.next(), this.#ended]);
    if (typeof next !== "string" && next.done !== true) return JSON.parse(next.value);
    throw new Error(`${this.name} ${await this.#ended}`);
  }
}
