/** ONNX Runtime sessions, run in a thread of their own: the asking side of `session-worker.ts`. */
import { availableParallelism } from "node:os";
import type { Worker } from "node:worker_threads";
import { ModelError, StateError } from "../errors.ts";
import { spawnWorker } from "../worker-thread.ts";
import { checkDevice, type Device, deviceHint } from "./runtime.ts";
import type {
  LoadedSession,
  LogitsRequest,
  ScoreAnswer,
  ScoreRequest,
  SessionAnswer,
  SessionRequest,
  TensorData,
} from "./session-messages.ts";

interface Pending {
  resolve(answer: SessionAnswer): void;
  reject(error: Error): void;
}

/** A thread with ONNX Runtime in it. Holds memory outside JavaScript's heap until `close`. */
export class Sessions {
  readonly device: Device;
  /** intra-op threads */
  readonly threads: number;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #runSeconds = 0;
  #ended: Error | null = null;

  private constructor(device: Device, threads: number) {
    this.device = device;
    this.threads = threads;
    this.#worker = spawnWorker(new URL("./session-worker.ts", import.meta.url));
    this.#worker.unref();
    this.#worker.on("message", (answer: SessionAnswer) => this.#settle(answer));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("its thread has ended")));
  }

  /** @throws {ModelError} the device is not in this ONNX Runtime, or ONNX Runtime is not installed */
  static async open(options: { device?: string; threads?: number } = {}): Promise<Sessions> {
    const device = await checkDevice(options.device ?? "cpu");
    const threads = options.threads ?? availableParallelism();
    if (!Number.isInteger(threads) || threads < 1)
      throw new ModelError(`threads: got ${threads}, expected a whole number from 1`);
    return new Sessions(device, threads);
  }

  /** Seconds that ONNX Runtime has spent running, over all answered runs. */
  get runSeconds(): number {
    return this.#runSeconds;
  }

  /**
   * Creates a session; `graph` is handed over and must not be used afterwards. `plainProducts`: see `SessionRequest`.
   * @throws {ModelError} ONNX Runtime refuses the graph or the device
   */
  async load(
    graph: Uint8Array<ArrayBuffer>,
    folder: string,
    name: string,
    { plainProducts = false } = {},
  ): Promise<LoadedSession> {
    const { device, threads } = this;
    const request = { kind: "load", graph, folder, device, threads, plainProducts } as const;
    const whole = graph.byteLength === graph.buffer.byteLength;
    const answer = await this.#ask(request, whole ? [graph.buffer] : []);
    if ("loaded" in answer) return answer.loaded;
    const failure = "failure" in answer ? answer.failure : "no answer";
    const deviceFailed = this.device !== "cpu";
    throw new ModelError(
      `ONNX Runtime cannot run ${name}${deviceFailed ? ` on ${this.device}` : ""}: ${failure}`,
      { hint: deviceFailed ? deviceHint(this.device) : "Is the file complete? Download it again." },
    );
  }

  /**
   * Runs sessions one after the other over one table of named tensors: `values` first, then every session's outputs.
   * Returns the `wanted` ones. The buffers of `values` stay the caller's. Runs may be asked for before earlier ones are
   * answered: they wait in the thread, so that it need not wait for the asker, and are answered in order.
   * With `tables`, the table starts as a kept one, or tensors of it are kept, in the thread, until `drop`.
   * @throws {ModelError} a run failed
   */
  async run(
    sessions: readonly LoadedSession[],
    values: Readonly<Record<string, TensorData>>,
    wanted: readonly string[],
    tables: { base?: number; keep?: { table: number; names: readonly string[] } } = {},
  ): Promise<Readonly<Record<string, TensorData>>> {
    const order = sessions.map(({ session }) => session);
    const answer = await this.#ask({ kind: "run", sessions: order, values, wanted, ...tables }, []);
    if ("values" in answer) {
      this.#runSeconds += answer.seconds;
      return answer.values;
    }
    throw failed(answer);
  }

  /** Cross-entropy and KL of kept runs against a clean one. @throws {ModelError} a run failed */
  async score(request: ScoreRequest): Promise<ScoreAnswer> {
    const answer = await this.#ask({ kind: "score", ...request }, []);
    if ("scores" in answer) {
      this.#runSeconds += answer.seconds;
      return answer.scores;
    }
    throw failed(answer);
  }

  /** Logits of some tokens of a kept run, [rows, vocab]. @throws {ModelError} a run failed */
  async logits(request: LogitsRequest): Promise<Float32Array> {
    const answer = await this.#ask({ kind: "logits", ...request }, []);
    if ("logits" in answer) {
      this.#runSeconds += answer.seconds;
      return answer.logits;
    }
    throw failed(answer);
  }

  /** Forgets kept tables. @throws {ModelError} the thread has ended */
  async drop(tables: readonly number[]): Promise<void> {
    await this.#ask({ kind: "drop", tables }, []);
  }

  /** Ends the thread and frees the sessions. */
  async close(): Promise<void> {
    this.#end(new StateError("the model is closed"));
    await this.#worker.terminate();
  }

  #ask(request: SessionRequest, transfer: ArrayBuffer[]): Promise<SessionAnswer> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, request }, transfer);
    });
  }

  #settle(answer: SessionAnswer): void {
    this.#pending.get(answer.id)?.resolve(answer);
    this.#pending.delete(answer.id);
    if (this.#pending.size === 0) this.#worker.unref();
  }

  #end(cause: Error): void {
    this.#ended ??=
      cause instanceof StateError
        ? cause
        : new ModelError(`ONNX Runtime's thread ended: ${cause.message}`, { cause });
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

function failed(answer: SessionAnswer): ModelError {
  return new ModelError(`the model failed: ${"failure" in answer ? answer.failure : "no answer"}`);
}
