/** The thread that ONNX Runtime lives in, because its calls block the thread that makes them. Started by `sessions.ts`. */
import { parentPort } from "node:worker_threads";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { loadRuntime, type Ort } from "./runtime.ts";
import { Scorer } from "./scoring.ts";
import type {
  LoadedSession,
  ScoreAnswer,
  SessionAnswer,
  SessionRequest,
  TensorData,
  TensorSpec,
} from "./session-messages.ts";

const port = parentPort;
const sessions: InferenceSession[] = [];
/** Tensors that later requests start from, by table and name. */
const tables = new Map<number, ReadonlyMap<string, Tensor>>();
let ort: Ort | undefined;
let scorer: Scorer | undefined;
/** Requests are answered one after the other, in the order they came. */
let before: Promise<void> = Promise.resolve();

port?.on("message", (message: { id: number; request: SessionRequest }) => {
  const { id, request } = message;
  before = before
    .then(() => answer(request))
    .then(
      ({ body, transfer }) => port.postMessage({ id, ...body } satisfies SessionAnswer, transfer),
      (error: unknown) =>
        port.postMessage({ id, failure: error instanceof Error ? error.message : String(error) }),
    );
});

type Body =
  | { loaded: LoadedSession }
  | { values: Record<string, TensorData>; seconds: number }
  | { scores: ScoreAnswer; seconds: number }
  | { logits: Float32Array<ArrayBuffer>; seconds: number }
  | { dropped: number };

async function answer(request: SessionRequest): Promise<{ body: Body; transfer: ArrayBuffer[] }> {
  ort ??= await loadRuntime();
  switch (request.kind) {
    case "load":
      return { body: { loaded: await load(ort, request) }, transfer: [] };
    case "run": {
      const body = await run(ort, request);
      const transfer = [...new Set(Object.values(body.values).map(({ data }) => data.buffer))];
      return { body, transfer };
    }
    case "score": {
      scorer ??= new Scorer(ort, tableOf);
      const body = await scorer.score(sessions[request.session], request);
      const { ceClean, ce, kl } = body.scores;
      return { body, transfer: [ceClean, ...ce, ...kl].map((array) => array.buffer) };
    }
    case "logits": {
      scorer ??= new Scorer(ort, tableOf);
      const body = await scorer.logits(sessions[request.session], request);
      return { body, transfer: [body.logits.buffer] };
    }
    case "drop":
      for (const table of request.tables) tables.delete(table);
      return { body: { dropped: tables.size }, transfer: [] };
  }
}

function tableOf(table: number): ReadonlyMap<string, Tensor> {
  const kept = tables.get(table);
  if (kept === undefined) throw new Error("the batch has been released");
  return kept;
}

async function load(
  runtime: Ort,
  request: Extract<SessionRequest, { kind: "load" }>,
): Promise<LoadedSession> {
  const session = await runtime.InferenceSession.create(request.graph, {
    executionProviders: [request.device],
    intraOpNumThreads: request.threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    logSeverityLevel: 4,
    extra: {
      session: {
        model_external_initializers_file_folder_path: request.folder,
        ...(request.plainProducts ? { disable_quant_qdq: "1" } : {}),
      },
    },
  });
  const spec = (value: InferenceSession.ValueMetadata): TensorSpec =>
    value.isTensor
      ? { name: value.name, type: value.type, shape: value.shape }
      : { name: value.name, type: "no tensor", shape: [] };
  return {
    session: sessions.push(session) - 1,
    inputs: session.inputMetadata.map(spec),
    outputs: session.outputMetadata.map(spec),
  };
}

/** Runs sessions in order; the outputs of one can be inputs of the next. */
async function run(
  runtime: Ort,
  request: Extract<SessionRequest, { kind: "run" }>,
): Promise<{ values: Record<string, TensorData>; seconds: number }> {
  const table = new Map<string, Tensor>(request.base === undefined ? [] : tableOf(request.base));
  for (const [name, { type, data, dims }] of Object.entries(request.values))
    table.set(name, new runtime.Tensor(type as "float32", data as Float32Array, dims));
  let seconds = 0;
  for (const index of request.sessions) {
    const session = sessions[index];
    const feeds: Record<string, Tensor> = {};
    for (const name of session.inputNames) {
      const tensor = table.get(name);
      if (tensor === undefined) throw new Error(`nothing to feed the input "${name}" with`);
      feeds[name] = tensor;
    }
    const start = performance.now();
    const outputs = await session.run(feeds);
    seconds += (performance.now() - start) / 1000;
    for (const name of session.outputNames) table.set(name, outputs[name]);
  }
  const named = (name: string): Tensor => {
    const tensor = table.get(name);
    if (tensor === undefined) throw new Error(`no output "${name}"`);
    return tensor;
  };
  const { keep } = request;
  if (keep !== undefined) tables.set(keep.table, new Map(keep.names.map((name) => [name, named(name)])));
  const values: Record<string, TensorData> = {};
  for (const name of request.wanted) {
    const tensor = named(name);
    const data = (await tensor.getData()) as Float32Array<ArrayBuffer>;
    // What is handed over is gone from here, so what is kept goes as a copy.
    values[name] = { type: tensor.type, dims: tensor.dims, data: keep === undefined ? data : data.slice() };
  }
  return { values, seconds };
}
