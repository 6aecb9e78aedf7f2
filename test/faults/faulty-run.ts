/** A child process that runs the command line on failing files, and is not waited for without end. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { ROOT } from "../run/small-recipe.ts";
import type { Answer, Job } from "./child.ts";

/** A run takes a second or two; on a busy machine some more. What takes longer hangs. */
const HANG_MS = 60_000;

export class FaultyRuns {
  readonly #target: string;
  #child: ChildProcess | null = null;
  #lines: AsyncIterator<string> | null = null;
  #interface: Interface | null = null;
  #stderr = "";

  /** Faults befall paths that begin with `target`. */
  constructor(target: string) {
    this.#target = target;
  }

  /** One run. "killed": the fault ended the process. @throws {Error} it hangs, or ends in another way */
  async run(job: Job): Promise<Answer | "killed"> {
    this.#child ??= this.#start();
    const child = this.#child;
    child.stdin?.write(`${JSON.stringify(job)}\n`);
    let timer: NodeJS.Timeout | undefined;
    const hang = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`hangs after ${JSON.stringify(job.fault)}`)), HANG_MS);
    });
    try {
      const { value, done } = await Promise.race([this.#lines!.next(), hang]);
      if (!done) return JSON.parse(value) as Answer;
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((ended) => child.once("exit", ended));
      this.#child = null;
      if (child.signalCode === "SIGKILL" && job.fault?.failure === "power-cut") return "killed";
      throw new Error(`ended with ${child.exitCode ?? child.signalCode}: ${this.#stderr}`);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
  }

  #start(): ChildProcess {
    const script = join(ROOT, "test/faults/child.ts");
    const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), script, this.#target], {
      env: { ...process.env, NO_COLOR: "1" },
    });
    this.#stderr = "";
    child.stderr?.on("data", (data) => {
      this.#stderr = `${this.#stderr}${data}`.slice(-4000);
    });
    this.#interface = createInterface({ input: child.stdout! });
    this.#lines = this.#interface[Symbol.asyncIterator]();
    return child;
  }
}
