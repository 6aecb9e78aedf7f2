/** A child process that runs the command line on failing files, and is not waited for without end. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "../run/small-recipe.ts";
import type { Answer, Job } from "./child.ts";

/** A run takes a second or two; on a busy machine some more. What takes longer hangs. */
const HANG_MS = 120_000;

/** The process did not live to answer. */
export interface Died {
  /** signal or exit code */
  readonly died: string;
  readonly stderr: string;
}

/** The system's own limits for one run, given to the living process by prlimit(1): largest file, address space beyond what it has. */
export interface Limits {
  readonly fileBytes?: number;
  readonly moreBytes?: number;
}

export interface ChildOptions {
  /** folder of the runs: faults befall what is in it */
  readonly runs: string;
  readonly disk?: string;
  /** folders of inputs, which faults befall, too */
  readonly inputs?: readonly string[];
  /** options of node */
  readonly node?: readonly string[];
  /** whose process it is; default one's own */
  readonly user?: number;
}

export class FaultyRuns {
  readonly #options: ChildOptions;
  #child: ChildProcess | null = null;
  #lines: AsyncIterator<string> | null = null;
  #stderr = "";

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  /** One run. @throws {Error} it hangs */
  async run(job: Job, limits: Limits = {}): Promise<Answer | Died> {
    this.#child ??= this.#start();
    const child = this.#child;
    setLimits(child.pid!, limits);
    child.stdin?.write(`${JSON.stringify(job)}\n`);
    let timer: NodeJS.Timeout | undefined;
    const hang = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`hangs after ${JSON.stringify(job.fault)}`)), HANG_MS);
    });
    try {
      const { value, done } = await Promise.race([this.#lines!.next(), hang]);
      if (!done) {
        setLimits(child.pid!, limits, "unlimited");
        return JSON.parse(value) as Answer;
      }
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((ended) => child.once("exit", ended));
      this.#child = null;
      return { died: String(child.signalCode ?? child.exitCode), stderr: this.#stderr };
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#child?.kill("SIGKILL");
    this.#child = null;
  }

  #start(): ChildProcess {
    const { runs, disk = "", inputs = [], node = [], user } = this.#options;
    const script = join(ROOT, "test/faults/child.ts");
    const args = [...node, "--import", import.meta.resolve("tsx"), script, runs, disk, ...inputs];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, NO_COLOR: "1", ...(user === undefined ? {} : { TSX_DISABLE_CACHE: "1" }) },
      ...(user === undefined ? {} : { uid: user, gid: user }),
    });
    this.#stderr = "";
    child.stdin?.on("error", () => {}); // it died: said by its end
    child.stderr?.on("data", (data) => {
      this.#stderr = `${this.#stderr}${data}`.slice(-4000);
    });
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    return child;
  }
}

/** Is prlimit(1) there, and does the system let it work? */
export function hasLimits(): boolean {
  return spawnSync("prlimit", ["--pid", String(process.pid), "--fsize=unlimited:"]).status === 0;
}

function setLimits(pid: number, { fileBytes, moreBytes }: Limits, value?: string): void {
  const set = (what: string, bytes: number) => {
    const { status, stderr } = spawnSync("prlimit", ["--pid", String(pid), `--${what}=${value ?? bytes}:`]);
    if (status !== 0) throw new Error(`prlimit: ${stderr}`);
  };
  if (fileBytes !== undefined) set("fsize", fileBytes);
  if (moreBytes !== undefined) set("as", addressSpace(pid) + moreBytes);
}

function addressSpace(pid: number): number {
  const match = /^VmSize:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1]) * 1024;
}
