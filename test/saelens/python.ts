/** The real SAELens in a process of its own: `saelens.py`, run by the Python that LAPIDARY_PEER_PYTHON names. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";

const PROGRAM = fileURLToPath(new URL("saelens.py", import.meta.url));

/** What SAELens computed. */
export interface Outputs {
  readonly architecture: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** [n, dSae] */
  readonly features: Float32Array;
  /** [n, dOut] */
  readonly decoded: Float32Array;
  readonly forward: Float32Array;
  readonly sparsity?: Float32Array;
}

/** Which SAELens it is, and what it knows. */
interface Ready {
  readonly version: string;
  readonly architectures: readonly string[];
}

export class SaeLens {
  readonly version: string;
  readonly architectures: readonly string[];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #scratch: string;

  private constructor(
    { version, architectures }: Ready,
    child: ChildProcessByStdio<Writable, Readable, null>,
    lines: AsyncIterator<string>,
    scratch: string,
  ) {
    this.version = version;
    this.architectures = architectures;
    this.#child = child;
    this.#lines = lines;
    this.#scratch = scratch;
  }

  /** @throws {Error} that Python cannot be run, or has no sae_lens */
  static async start(python: string, env: Readonly<Record<string, string>> = {}): Promise<SaeLens> {
    const child = spawn(python, [PROGRAM], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    const failed = new Promise<never>((_, reject) => child.on("error", reject));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([lines.next(), failed]);
    if (first.done)
      throw new Error(`${python} ended without an answer; it needs torch, safetensors, sae_lens`);
    const ready = JSON.parse(first.value) as Ready;
    return new SaeLens(ready, child, lines, await mkdtemp(join(tmpdir(), "saelens-")));
  }

  /** Encodes and decodes `x`, rows of `shape`, with the SAE of a folder or of the hub. */
  async compute(
    source: { load: string } | { release: string; saeId: string },
    x: Float32Array,
    shape: readonly number[],
  ): Promise<Outputs> {
    const outputs = join(this.#scratch, "outputs.safetensors");
    const said = await this.#ask({ ...source, inputs: await this.#inputs(x, shape), outputs });
    const file = await openSafetensors(outputs);
    const tensors = Object.fromEntries(
      await Promise.all([...file.tensors.keys()].map(async (name) => [name, await file.readF32(name)])),
    );
    await file.close();
    return { ...said, ...tensors } as unknown as Outputs;
  }

  /** Runs a program text in `folder` with `residual` = x; how many of its `latents` are active on each row. */
  async run(program: string, folder: string, x: Float32Array, shape: readonly number[]): Promise<number[]> {
    const said = await this.#ask({ run: program, folder, inputs: await this.#inputs(x, shape) });
    return said.latents as number[];
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end();
    await ended;
    await rm(this.#scratch, { recursive: true });
  }

  async #inputs(x: Float32Array, shape: readonly number[]): Promise<string> {
    const path = join(this.#scratch, "inputs.safetensors");
    const rows = x.length / shape.reduce((a, b) => a * b, 1);
    await writeSafetensors(path, [{ name: "x", dtype: "F32", shape: [rows, ...shape], data: x }]);
    return path;
  }

  async #ask(request: object): Promise<Record<string, unknown>> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error("SAELens ended instead of answering");
    const said = JSON.parse(line.value) as Record<string, unknown>;
    if (said.error !== undefined) throw new Error(`SAELens: ${said.error}`);
    return said;
  }
}
