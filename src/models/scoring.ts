/** Runs the unembedding, and turns its logits into scores where those are wanted, in the thread that ONNX Runtime lives in. */
import { f16ToF32 } from "../tensor/half.ts";
import type { Ort, Session, Tensor } from "./runtime.ts";
import type { LogitsRequest, ScoreAnswer, ScoreRequest } from "./session-messages.ts";
import { CleanTokens, type Logits } from "./token-scores.ts";

type Table = ReadonlyMap<string, Tensor>;
/** Which tokens' logits, and where they come from. */
type Wanted = Omit<LogitsRequest, "table">;

/**
 * Scores runs that are kept in tables, request after request. At any time the clean run's logits and probabilities and one
 * other run's logits are held, in memory that is used again.
 */
export class Scorer {
  readonly #runtime: Ort;
  readonly #tableOf: (table: number) => Table;
  /** of the clean run's logits, and of the others' */
  readonly #room: [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>] = [
    new Float32Array(0),
    new Float32Array(0),
  ];
  #probabilities = new Float64Array(0);
  /** shapes of the logits of each session, to say beforehand where the next ones go */
  readonly #shapes = new WeakMap<Session, readonly number[]>();

  constructor(runtime: Ort, tableOf: (table: number) => Table) {
    this.#runtime = runtime;
    this.#tableOf = tableOf;
  }

  /** @throws {Error} a table lacks an input, or the graph gives logits of other tokens than it was asked for */
  async score(session: Session, request: ScoreRequest): Promise<{ scores: ScoreAnswer; seconds: number }> {
    let seconds = 0;
    const logitsOf = async (table: number, room: 0 | 1): Promise<Logits> => {
      const feeds = await this.#feeds(session, this.#tableOf(table), request);
      const start = performance.now();
      const logits = await this.#run(session, feeds, request, room);
      seconds += (performance.now() - start) / 1000;
      return logits;
    };
    const { clean: table, next, others } = request;
    const logits = await logitsOf(table, 0);
    const needed = next.length * logits.vocab;
    if (this.#probabilities.length < needed) this.#probabilities = new Float64Array(needed);
    const clean = new CleanTokens(logits, next, this.#probabilities);
    const ce: Float64Array<ArrayBuffer>[] = [];
    const kl: Float64Array<ArrayBuffer>[] = [];
    for (const other of others) {
      const compared = clean.compare(await logitsOf(other, 1));
      ce.push(compared.ce);
      kl.push(compared.kl);
    }
    return { scores: { ceClean: clean.ce, ce, kl }, seconds };
  }

  /** Logits of the wanted tokens of one table, a copy: [rows, vocab]. @throws {Error} as `score` */
  async logits(
    session: Session,
    request: LogitsRequest,
  ): Promise<{ logits: Float32Array<ArrayBuffer>; seconds: number }> {
    const feeds = await this.#feeds(session, this.#tableOf(request.table), request);
    const start = performance.now();
    const { data, vocab, rowOf } = await this.#run(session, feeds, request, 0);
    const seconds = (performance.now() - start) / 1000;
    const logits = new Float32Array(request.rows.length * vocab);
    request.rows.forEach((_, i) => {
      logits.set(data.subarray(rowOf[i] * vocab, (rowOf[i] + 1) * vocab), i * vocab);
    });
    return { logits, seconds };
  }

  async #feeds(
    session: Session,
    table: Table,
    { rowwise, rows, nRows }: Wanted,
  ): Promise<Record<string, Tensor>> {
    const feeds: Record<string, Tensor> = {};
    for (const name of session.inputNames) {
      const tensor = table.get(name);
      if (tensor === undefined) throw new Error(`nothing to feed the input "${name}" with`);
      feeds[name] = name === rowwise ? await gather(this.#runtime, tensor, rows, nRows) : tensor;
    }
    return feeds;
  }

  async #run(
    session: Session,
    feeds: Record<string, Tensor>,
    { logits: output, rowwise, rows, nRows }: Wanted,
    room: 0 | 1,
  ): Promise<Logits> {
    const expected = rowwise === null ? nRows : atLeastTwo(rows).length;
    const place = rowwise === null ? null : this.#place(session, expected, room);
    const results = place === null ? await session.run(feeds) : await session.run(feeds, { [output]: place });
    const { dims, type } = results[output];
    const vocab = dims[dims.length - 1];
    const data = place === null ? await asFloat32(results[output]) : (place.data as Float32Array);
    if (data.length !== expected * vocab)
      throw new Error(`logits of ${data.length / vocab} tokens (${dims.join(" × ")}), wanted ${expected}`);
    if (type === "float32") this.#shapes.set(session, dims);
    return { data, vocab, rowOf: rowwise === null ? rows : Uint32Array.from(rows, (_, i) => i) };
  }

  /** Where logits of `n` tokens go; null while their shape is not known. */
  #place(session: Session, n: number, room: 0 | 1): Tensor | null {
    const dims = this.#shapes.get(session);
    if (dims === undefined) return null;
    const vocab = dims[dims.length - 1];
    if (this.#room[room].length < n * vocab) this.#room[room] = new Float32Array(n * vocab);
    const data = this.#room[room].subarray(0, n * vocab);
    return new this.#runtime.Tensor("float32", data, [...dims.slice(0, -2), n, vocab]);
  }
}

/** Some rows of [..., nRows, d], as one window of tokens. */
async function gather(runtime: Ort, tensor: Tensor, rows: Uint32Array, nRows: number): Promise<Tensor> {
  const { dims, type } = tensor;
  const width = dims[dims.length - 1];
  const all = (await tensor.getData()) as Float32Array;
  if (all.length !== nRows * width)
    throw new Error(`final hidden states of ${all.length / width} tokens, expected ${nRows}`);
  const wanted = atLeastTwo(rows);
  const some = new (all.constructor as Float32ArrayConstructor)(wanted.length * width);
  wanted.forEach((row, i) => {
    some.set(all.subarray(row * width, (row + 1) * width), i * width);
  });
  const lead = dims.slice(0, -2).map(() => 1);
  return new runtime.Tensor(type as "float32", some, [...lead, wanted.length, width]);
}

/** ONNX Runtime multiplies a single row in another order than several: none goes alone. */
function atLeastTwo(rows: Uint32Array): Uint32Array {
  return rows.length === 1 ? Uint32Array.of(rows[0], rows[0]) : rows;
}

async function asFloat32(tensor: Tensor): Promise<Float32Array> {
  const data = await tensor.getData();
  if (data instanceof Float32Array) return data;
  if (tensor.type !== "float16") throw new Error(`logits of element type ${tensor.type}`);
  const { buffer, byteOffset, length } = data as Uint16Array;
  return f16ToF32(new Uint16Array(buffer, byteOffset, length));
}
