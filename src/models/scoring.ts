/** Runs the unembedding and turns its logits into scores, in the thread that ONNX Runtime lives in. */
import { f16ToF32 } from "../tensor/half.ts";
import type { Ort, Session, Tensor } from "./runtime.ts";
import type { ScoreAnswer, ScoreRequest } from "./session-messages.ts";
import { CleanTokens, type Logits } from "./token-scores.ts";

type Table = ReadonlyMap<string, Tensor>;

/**
 * Scores of the runs kept in tables. At any time the clean run's logits and probabilities and one other run's logits are held.
 * @throws {Error} a table lacks an input, or the graph gives logits of other tokens than it was asked for
 */
export async function score(
  runtime: Ort,
  session: Session,
  tableOf: (table: number) => Table,
  request: ScoreRequest,
): Promise<{ scores: ScoreAnswer; seconds: number }> {
  let seconds = 0;
  const logitsOf = async (table: Table): Promise<Logits> => {
    const start = performance.now();
    const logits = await run(runtime, session, table, request);
    seconds += (performance.now() - start) / 1000;
    return logits;
  };
  const clean = new CleanTokens(await logitsOf(tableOf(request.clean)), request.next);
  const ce: Float64Array<ArrayBuffer>[] = [];
  const kl: Float64Array<ArrayBuffer>[] = [];
  for (const other of request.others) {
    const compared = clean.compare(await logitsOf(tableOf(other)));
    ce.push(compared.ce);
    kl.push(compared.kl);
  }
  return { scores: { ceClean: clean.ce, ce, kl }, seconds };
}

async function run(
  runtime: Ort,
  session: Session,
  table: Table,
  { logits: output, rowwise, rows, nRows }: ScoreRequest,
): Promise<Logits> {
  const feeds: Record<string, Tensor> = {};
  for (const name of session.inputNames) {
    const tensor = table.get(name);
    if (tensor === undefined) throw new Error(`nothing to feed the input "${name}" with`);
    feeds[name] = name === rowwise ? await gather(runtime, tensor, rows, nRows) : tensor;
  }
  const logits = (await session.run(feeds))[output];
  const vocab = logits.dims[logits.dims.length - 1];
  const data = await asFloat32(logits);
  const expected = rowwise === null ? nRows : atLeastTwo(rows).length;
  if (data.length !== expected * vocab)
    throw new Error(
      `logits of ${data.length / vocab} tokens (${logits.dims.join(" × ")}), wanted ${expected}`,
    );
  return { data, vocab, rowOf: rowwise === null ? rows : Uint32Array.from(rows, (_, i) => i) };
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
