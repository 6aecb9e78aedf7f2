/** Opens a model's head for decoder rows, in ONNX Runtime's thread. The graph above it is not loaded. */
import { type LapidaryError, ModelError, ShapeError } from "../../errors.ts";
import { type MemoryPlan, planOf } from "../../kernels/memory.ts";
import { finalNormGraph, HEAD_LOGITS, HEAD_ROWS, headGraph, NORM_WEIGHT } from "../../models/head.ts";
import { type ModelFolder, readModelFolder, requireWeights } from "../../models/model-files.ts";
import type { OnnxNode } from "../../models/onnx-model.ts";
import type { LoadedSession } from "../../models/session-messages.ts";
import { Sessions } from "../../models/sessions.ts";
import { LOGITS } from "../../models/spliced-pieces.ts";
import { findUnembedding } from "../../models/unembedding.ts";
import type { LatentLogits, LogitLens } from "./logits.ts";
import { summarizeLogits } from "./summary.ts";

export interface LogitLensOptions {
  /** multiplies rows by the final norm's weight; default false */
  readonly finalNorm?: boolean;
  /** which of the folder's graphs, as for every model */
  readonly dtype?: string;
  /** tokens of `top` and of `bottom`; default 10 */
  readonly top?: number;
  readonly device?: string;
  readonly threads?: number;
  /** logits held at a time, of all chunks together; default 256 MiB */
  readonly maxLogitsBytes?: number;
}

const DEFAULT_LOGITS_BYTES = 256 * 2 ** 20;
/** One chunk is being computed, one waits, one is summarised. */
const CHUNKS_HELD = 3;
/** Taken where the configuration does not tell the vocabulary: the largest in use. */
const LARGEST_VOCABULARY = 262_144;
const RUNTIME_BYTES = 64 * 2 ** 20;

/** An open head, and what it was cut from. */
export interface ModelLogitLens extends LogitLens {
  readonly dIn: number;
  /** [dIn] what rows are multiplied by; null without `finalNorm` */
  readonly normWeight: Float32Array | null;
}

/**
 * Opens the head of the model in folder `dir`.
 *
 * `logits[i] = (normWeight ⊙ row_i) · W_U`, without the norm's weight unless `finalNorm`
 *
 * Numerics f32 products by ONNX Runtime, whatever precision the graph has; a row's logits do not depend on the rows it comes with
 * @throws {ModelError} no head that can be cut off, missing weights; with `finalNorm`, no weight of a norm before it
 */
export async function openLogitLens(dir: string, options: LogitLensOptions = {}): Promise<ModelLogitLens> {
  const { finalNorm = false, top = 10, maxLogitsBytes = DEFAULT_LOGITS_BYTES } = options;
  if (!Number.isInteger(top) || top < 0 || top > 255)
    throw new ShapeError("top logits", top, "a whole number from 0 to 255");
  const { folder, product, dIn } = await readHead(dir, options);
  const { model, name, folder: weights } = folder.decoder;
  const norm = finalNorm ? finalNormGraph(model, product) : null;
  if (norm !== null && "problem" in norm) throw noNorm(model.file, norm.problem);
  const head = headGraph(model, product, dIn);
  requireWeights(folder);
  const sessions = await Sessions.open(options);
  try {
    const session = await sessions.load(head.graph, weights, `the head of ${name}`, { plainProducts: true });
    const normWeight =
      norm === null ? null : await readNorm(sessions, await sessions.load(norm.graph, weights, name), dIn);
    if (normWeight !== null && normWeight.length !== dIn)
      throw noNorm(model.file, `what stands before the head has ${normWeight.length} numbers, not ${dIn}`);
    const lens = new HeadLens({ sessions, session, dIn, normWeight, top, maxLogitsBytes });
    await lens.probe();
    return lens;
  } catch (error) {
    await sessions.close();
    throw error;
  }
}

/** What `openLogitLens` will take beside the rows. Bytes, an estimate. @throws as it does */
export async function logitLensMemory(dir: string, options: LogitLensOptions = {}): Promise<MemoryPlan> {
  const { folder, product, dIn } = await readHead(dir, options);
  const { storedBytes, float32Bytes } = headGraph(folder.decoder.model, product, dIn);
  const perRow = 4 * (folder.config.vocabSize ?? LARGEST_VOCABULARY);
  return planOf([
    { name: "ONNX Runtime", bytes: RUNTIME_BYTES },
    { name: "head", bytes: storedBytes + 2 * float32Bytes },
    {
      name: "logits",
      bytes: CHUNKS_HELD * perRow * rowsAtATime(options.maxLogitsBytes ?? DEFAULT_LOGITS_BYTES, perRow),
    },
  ]);
}

async function readHead(
  dir: string,
  options: LogitLensOptions,
): Promise<{ folder: ModelFolder; product: OnnxNode; dIn: number }> {
  const folder = await readModelFolder(dir, { dtype: options.dtype });
  const { model } = folder.decoder;
  const found = findUnembedding(model, LOGITS);
  if ("problem" in found)
    throw new ModelError(`${model.file}: the logits' head cannot be cut off: ${found.problem}`, {
      hint: "Everything else of an index can be made without a model.",
    });
  const declared = model.values.get(found.hidden)?.shape?.at(-1);
  const dIn = folder.config.dIn ?? (typeof declared === "number" ? declared : null);
  if (dIn === null)
    throw new ModelError(`${model.file}: neither the graph nor a config.json says how wide its head is`, {
      hint: "Put the model's config.json beside it.",
    });
  return { folder, product: found.product, dIn };
}

async function readNorm(sessions: Sessions, session: LoadedSession, dIn: number): Promise<Float32Array> {
  const { data } = (await sessions.run([session], {}, [NORM_WEIGHT]))[NORM_WEIGHT];
  if (!(data instanceof Float32Array)) throw new ShapeError("weight of the final norm", 0, dIn);
  return data;
}

function noNorm(file: string, problem: string): LapidaryError {
  return new ModelError(`${file}: no weight of a final norm was found: ${problem}`, {
    hint: "Leave out --final-norm: logits are those of the decoder row itself.",
  });
}

/** ONNX Runtime multiplies a single row in another order than several, so two at least. */
function rowsAtATime(maxLogitsBytes: number, perRow: number): number {
  return Math.max(2, Math.floor(maxLogitsBytes / CHUNKS_HELD / perRow));
}

interface Head {
  readonly sessions: Sessions;
  readonly session: LoadedSession;
  readonly dIn: number;
  readonly normWeight: Float32Array | null;
  readonly top: number;
  readonly maxLogitsBytes: number;
}

class HeadLens implements ModelLogitLens {
  readonly dIn: number;
  readonly normWeight: Float32Array | null;
  vocabSize = 0;
  readonly #head: Head;

  constructor(head: Head) {
    this.#head = head;
    this.dIn = head.dIn;
    this.normWeight = head.normWeight;
  }

  get finalNorm(): boolean {
    return this.normWeight !== null;
  }

  /** Learns the size of the vocabulary from two rows. @throws {ModelError} the weights are not of this model's width */
  async probe(): Promise<void> {
    this.vocabSize = (await this.#run(new Float32Array(2 * this.dIn))).length / 2;
  }

  async logitsOf(rows: Float32Array): Promise<readonly LatentLogits[]> {
    const { dIn, vocabSize } = this;
    if (rows.length % dIn !== 0) throw new ShapeError("decoder rows", rows.length, `a multiple of ${dIn}`);
    const step = rowsAtATime(this.#head.maxLogitsBytes, 4 * vocabSize);
    const chunk = (from: number) => rows.subarray(from * dIn, (from + step) * dIn);
    const n = rows.length / dIn;
    const results: LatentLogits[] = [];
    let next = n > 0 ? this.#run(chunk(0)) : null;
    for (let from = 0; next !== null; from += step) {
      const logits: Float32Array = await next;
      next = from + step < n ? this.#run(chunk(from + step)) : null;
      next?.catch(() => undefined); // awaited in the next turn; not unhandled should this one fail
      for (let row = from; row < Math.min(n, from + step); row++) {
        const at = (row - from) * vocabSize;
        const summary = summarizeLogits(logits.subarray(at, at + vocabSize), this.#head.top);
        if (!Number.isFinite(summary.std))
          throw new ModelError(`the logits of row ${row} of ${n} are not finite numbers`, {
            hint: "Are the decoder's weights those of this model's width and precision?",
          });
        results.push(summary);
      }
    }
    return results;
  }

  /** Logits [n, vocabulary] of n rows; of one row, twice. */
  async #run(rows: Float32Array): Promise<Float32Array> {
    const { dIn, normWeight } = this;
    const n = rows.length / dIn;
    const data = new Float32Array(Math.max(2, n) * dIn);
    data.set(rows);
    if (n === 1) data.set(rows, dIn);
    if (normWeight !== null) for (let i = 0; i < data.length; i++) data[i] *= normWeight[i % dIn];
    const { sessions, session } = this.#head;
    const values = await sessions.run(
      [session],
      { [HEAD_ROWS]: { type: "float32", dims: [data.length / dIn, dIn], data } },
      [HEAD_LOGITS],
    );
    const { data: logits, dims } = values[HEAD_LOGITS];
    if (!(logits instanceof Float32Array) || dims.length !== 2)
      throw new ShapeError("logits of the head", dims, "rows × vocabulary, in float32");
    return logits;
  }

  async close(): Promise<void> {
    await this.#head.sessions.close();
  }
}
