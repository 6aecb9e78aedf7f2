/** One batch of a spliced model. What its runs computed stays in the sessions' thread; streams come out and go in. */
import { ModelError, ShapeError } from "../errors.ts";
import { f16ToF32, f32ToF16 } from "../tensor/half.ts";
import type { Feeds } from "./feeds.ts";
import type { TokenBatch } from "./residual-model.ts";
import type { LoadedSession, TensorData } from "./session-messages.ts";
import type { Sessions } from "./sessions.ts";
import type { Intervention, ScoredTokens, SplicedBatch, TokenScores } from "./spliced-model.ts";
import { LOGITS, type ModelPieces } from "./spliced-pieces.ts";

/** A model's sessions. */
export interface CutEngine {
  readonly sessions: Sessions;
  readonly pieces: ModelPieces;
  /** what runs before the decoder: the embeddings, where they are a graph of their own */
  readonly first: readonly LoadedSession[];
  /** of `pieces.body` and `pieces.final` */
  readonly body: readonly LoadedSession[];
  readonly final: LoadedSession;
  readonly feeds: Feeds;
}

/** What a batch is of. */
export interface BatchSubject {
  readonly batch: TokenBatch;
  readonly dIn: number;
  /** tokens scored at once; null: all */
  readonly chunkTokens: number | null;
  /** where all are: tokens that a batch should not exceed */
  readonly maxBatchTokens: number | null;
}

export class RunningBatch implements SplicedBatch {
  readonly residuals: readonly Float32Array[];
  readonly #engine: CutEngine;
  readonly #subject: BatchSubject;
  readonly #newTable: () => number;
  readonly #clean: number;
  /** element type of the stream at each cut */
  readonly #types: readonly string[];
  readonly #interventions = new Set<number>();

  private constructor(
    engine: CutEngine,
    subject: BatchSubject,
    newTable: () => number,
    clean: number,
    streams: readonly TensorData[],
  ) {
    this.#engine = engine;
    this.#subject = subject;
    this.#newTable = newTable;
    this.#clean = clean;
    this.#types = streams.map(({ type }) => type);
    this.residuals = streams.map((stream, i) => streamNumbers(stream, engine.pieces.cuts[i], subject));
  }

  /** Runs the batch clean. `newTable` numbers the tables of a thread. */
  static async start(
    engine: CutEngine,
    subject: BatchSubject,
    newTable: () => number,
  ): Promise<RunningBatch> {
    const { sessions, pieces, first, body, final, feeds } = engine;
    const table = newTable();
    const names = inputsOf([...body.slice(1), final]);
    const values = await sessions.run([...first, ...body], feeds(subject.batch), pieces.cuts, {
      keep: { table, names },
    });
    return new RunningBatch(
      engine,
      subject,
      newTable,
      table,
      pieces.cuts.map((cut) => values[cut]),
    );
  }

  async intervene(
    layers: readonly number[],
    replace: (layer: number, stream: Float32Array) => Promise<Float32Array> | Float32Array,
  ): Promise<Intervention> {
    const { sessions, pieces, body, final } = this.#engine;
    const cuts = layers.map((layer) => pieces.layers.indexOf(layer));
    if (cuts.length === 0 || cuts.some((cut, i) => cut < 0 || (i > 0 && cut <= cuts[i - 1])))
      throw new ModelError(
        `cannot intervene at layers ${layers.join(", ")}: the model was cut at ${pieces.layers.join(", ")}`,
        { hint: "Name some of these, ascending." },
      );
    const id = this.#newTable();
    this.#interventions.add(id);
    let stream: Float32Array = this.residuals[cuts[0]].slice();
    for (const [i, cut] of cuts.entries()) {
      const replaced = await replace(layers[i], stream);
      const isLast = i === cuts.length - 1;
      const next = isLast ? body.length : cuts[i + 1] + 1;
      const name = pieces.cuts[cut];
      const wanted = isLast ? [] : [pieces.cuts[cuts[i + 1]]];
      const later = isLast ? [final] : [...body.slice(next), final];
      const values = await sessions.run(
        body.slice(cut + 1, next),
        { [name]: this.#tensor(replaced, cut) },
        wanted,
        { base: i === 0 ? this.#clean : id, keep: { table: id, names: inputsOf(later) } },
      );
      if (!isLast) stream = streamNumbers(values[wanted[0]], wanted[0], this.#subject);
    }
    return { id };
  }

  async score(
    { rows, next }: ScoredTokens,
    interventions: readonly Intervention[],
    signal?: AbortSignal,
  ): Promise<TokenScores> {
    const { sessions, pieces, final } = this.#engine;
    const { batch, chunkTokens } = this.#subject;
    const n = rows.length;
    const ceClean = new Float64Array(n);
    const ce = interventions.map(() => new Float64Array(n));
    const kl = interventions.map(() => new Float64Array(n));
    const chunk = chunkTokens ?? n;
    for (let from = 0; from < n; from += chunk) {
      signal?.throwIfAborted();
      const to = Math.min(n, from + chunk);
      const scores = await sessions.score({
        session: final.session,
        logits: LOGITS,
        rowwise: pieces.rowwise,
        clean: this.#clean,
        others: interventions.map(({ id }) => id),
        nRows: batch.nWindows * batch.seqLen,
        rows: rows.slice(from, to),
        next: next.slice(from, to),
      });
      ceClean.set(scores.ceClean, from);
      interventions.forEach((_, i) => {
        ce[i].set(scores.ce[i], from);
        kl[i].set(scores.kl[i], from);
      });
    }
    return { ceClean, ce, kl };
  }

  async logits(rows: Uint32Array, intervention?: Intervention): Promise<Float32Array> {
    const { sessions, pieces, final } = this.#engine;
    const { batch, chunkTokens, maxBatchTokens } = this.#subject;
    const nRows = batch.nWindows * batch.seqLen;
    const [computed, most] = chunkTokens === null ? [nRows, maxBatchTokens] : [rows.length, chunkTokens];
    if (most !== null && computed > most)
      throw new ShapeError("tokens whose logits are computed at once", computed, `at most ${most}`);
    return sessions.logits({
      session: final.session,
      logits: LOGITS,
      rowwise: pieces.rowwise,
      table: intervention?.id ?? this.#clean,
      nRows,
      rows,
    });
  }

  async release(intervention?: Intervention): Promise<void> {
    const tables = intervention === undefined ? [this.#clean, ...this.#interventions] : [intervention.id];
    for (const table of tables) this.#interventions.delete(table);
    await this.#engine.sessions.drop(tables);
  }

  #tensor(stream: Float32Array, cut: number): TensorData {
    const dims = dimsOf(this.#subject);
    const length = dims.reduce((product, size) => product * size, 1);
    if (stream.length !== length) throw new ShapeError("replaced residual stream", stream.length, dims);
    const type = this.#types[cut];
    if (type !== "float16") return { type, dims, data: new Float32Array(stream) };
    const data = new Uint16Array(length);
    f32ToF16(stream, data);
    return { type, dims, data };
  }
}

function dimsOf({ batch, dIn }: BatchSubject): number[] {
  return [batch.nWindows, batch.seqLen, dIn];
}

/** A stream as it comes from a session. @throws {ShapeError | ModelError} another shape, or neither single nor half precision */
export function streamNumbers(
  { type, dims, data }: TensorData,
  name: string,
  subject: BatchSubject,
): Float32Array {
  const expected = dimsOf(subject);
  if (dims.length !== 3 || dims.some((size, i) => size !== expected[i]))
    throw new ShapeError(`residual stream "${name}"`, dims, expected);
  if (data instanceof Float32Array) return data;
  if (type !== "float16")
    throw new ModelError(
      `the residual stream "${name}" has element type ${type}; float32 and float16 are understood`,
    );
  return f16ToF32(new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2));
}

/** Names that any of the sessions is fed with. */
function inputsOf(sessions: readonly LoadedSession[]): string[] {
  return [...new Set(sessions.flatMap(({ inputs }) => inputs.map(({ name }) => name)))];
}
