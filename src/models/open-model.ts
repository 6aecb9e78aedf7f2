/** Opens an ONNX language model as a `ResidualModel`: its lower part in a session, tapped at the wanted layers. */
import { ModelError, ShapeError } from "../errors.ts";
import { type Feeds, planFeeds } from "./feeds.ts";
import { type ModelFolder, readModelFolder, requireWeights } from "./model-files.ts";
import type { ModelInfo, OpenModelOptions, ResidualModel, TokenBatch } from "./residual-model.ts";
import { runtimeDevices } from "./runtime.ts";
import type { LoadedSession, TensorSpec } from "./session-messages.ts";
import { Sessions } from "./sessions.ts";
import { tapGraph } from "./taps.ts";
import { wantedPoints } from "./wanted-points.ts";

/** Operators that choose a scale from the very activations they see, over the whole batch. */
const DYNAMIC_QUANTIZATION = /^DynamicQuantize/;

/**
 * Opens the model in folder `dir`, ready to give the residual stream after `options.layers` (0 = first decoder layer).
 * Only the part of the graph below the highest of them is loaded and run; all layers come from one pass.
 * @throws {ModelError} no model, no residual stream, a layer out of range, missing weights, unknown inputs, absent device
 * @throws {FormatError} a damaged or refused file
 */
export async function openResidualModel(dir: string, options: OpenModelOptions): Promise<ResidualModel> {
  const folder = await readModelFolder(dir, { dtype: options.dtype });
  const { points, nLayers } = wantedPoints(folder, options.layers, options.tensors);
  requireWeights(folder);
  const sessions = await Sessions.open(options);
  try {
    const lower = tapGraph(folder.decoder.model, points);
    const loaded: LoadedSession[] = [];
    if (folder.embed !== null) {
      const whole = tapGraph(folder.embed.model, [], { whole: true });
      loaded.push(await sessions.load(whole.graph, folder.embed.folder, folder.embed.name));
    }
    loaded.push(await sessions.load(lower.graph, folder.decoder.folder, folder.decoder.name));
    const feeds = planFeeds(loaded, folder.config);
    const tap = loaded[loaded.length - 1].outputs.find((output) => output.name === lower.taps[0]);
    const info = await describe(folder, nLayers, sessions, tap);
    const layers = points.map(({ layer }) => layer);
    return new TappedModel(info, layers, { sessions, loaded, feeds, taps: lower.taps });
  } catch (error) {
    await sessions.close();
    throw error;
  }
}

/** Whether a window's numbers depend on what else is in its batch, because activations are quantised on the fly. */
export function quantizesDynamically(folder: ModelFolder): boolean {
  return [folder.decoder, ...(folder.embed === null ? [] : [folder.embed])].some(({ model }) =>
    model.nodes.some((node) => DYNAMIC_QUANTIZATION.test(node.op)),
  );
}

/** What is recorded of an opened model; `tap`: its residual stream, as a session declares it. */
export async function describe(
  folder: ModelFolder,
  nLayers: number,
  sessions: Sessions,
  tap: TensorSpec | undefined,
): Promise<ModelInfo> {
  const { config } = folder;
  const last = tap?.shape.at(-1);
  const dIn = typeof last === "number" && last > 0 ? last : config.dIn;
  if (dIn === null)
    throw new ModelError("neither the graph nor a config.json says how wide the residual stream is");
  if (config.dIn !== null && config.dIn !== dIn)
    throw new ShapeError(
      "residual stream width in the graph",
      dIn,
      config.dIn,
      "Is config.json this model's?",
    );
  const graphs = folder.embed === null ? [folder.decoder] : [folder.embed, folder.decoder];
  return {
    source: folder.dir,
    files: [
      ...graphs.map(({ name, sha256, bytes }) => ({ name, sha256, bytes })),
      ...folder.weights.map(({ name, bytes }) => ({ name, sha256: null, bytes: bytes ?? 0 })),
    ],
    modelType: config.modelType,
    dIn,
    nLayers,
    vocabSize: config.vocabSize,
    contextSize: config.contextSize,
    dynamicQuantization: quantizesDynamically(folder),
    device: sessions.device,
    threads: sessions.threads,
    runtime: (await runtimeDevices()).version,
  };
}

interface Engine {
  readonly sessions: Sessions;
  readonly loaded: readonly LoadedSession[];
  readonly feeds: Feeds;
  readonly taps: readonly string[];
}

class TappedModel implements ResidualModel {
  readonly info: ModelInfo;
  readonly layers: readonly number[];
  readonly #engine: Engine;

  constructor(info: ModelInfo, layers: readonly number[], engine: Engine) {
    this.info = info;
    this.layers = layers;
    this.#engine = engine;
  }

  get runSeconds(): number {
    return this.#engine.sessions.runSeconds;
  }

  async run(batch: TokenBatch): Promise<Float32Array[]> {
    checkBatch(batch, this.info);
    const { sessions, loaded, feeds, taps } = this.#engine;
    // Exporters bake in that a sequence has at least two tokens; a masked second one changes nothing before it.
    const padded = batch.seqLen === 1 ? twoTokens(batch) : batch;
    const values = await sessions.run(loaded, feeds(padded), taps);
    const { dIn } = this.info;
    const expected = [padded.nWindows, padded.seqLen, dIn];
    return taps.map((tap) => {
      const { dims, data } = values[tap];
      if (
        dims.length !== 3 ||
        dims.some((size, i) => size !== expected[i]) ||
        !(data instanceof Float32Array)
      )
        throw new ShapeError(`residual stream "${tap}"`, dims, expected);
      return padded === batch ? data : firstTokens(data, dIn);
    });
  }

  async close(): Promise<void> {
    await this.#engine.sessions.close();
  }
}

/** @throws {ShapeError | ModelError} the batch is not what it says, or the model cannot take it */
export function checkBatch(batch: TokenBatch, info: ModelInfo): void {
  const { nWindows, seqLen, tokenIds, lengths } = batch;
  if (nWindows < 1 || seqLen < 1)
    throw new ShapeError("token batch", [nWindows, seqLen], "at least one token");
  if (tokenIds.length !== nWindows * seqLen)
    throw new ShapeError("token ids", tokenIds.length, nWindows * seqLen);
  if (lengths.length !== nWindows) throw new ShapeError("window lengths", lengths.length, nWindows);
  for (const length of lengths)
    if (length < 1 || length > seqLen) throw new ShapeError("length of a window", length, `1 to ${seqLen}`);
  const { vocabSize } = info;
  if (vocabSize !== null)
    for (const id of tokenIds)
      if (id >= vocabSize)
        throw new ModelError(`token id ${id} is not in the model's vocabulary of ${vocabSize}`, {
          hint: "Was the corpus made with another model's tokenizer?",
        });
  if (info.dynamicQuantization && (nWindows > 1 || lengths[0] !== seqLen || seqLen < 2))
    throw new ModelError(
      `this graph quantises activations dynamically, so a window's numbers depend on its batch: got ${nWindows} windows of ${seqLen} tokens, the first with ${lengths[0]} real ones`,
      { hint: "Run one window at a time, without padding, of at least two tokens." },
    );
}

function twoTokens(batch: TokenBatch): TokenBatch {
  const tokenIds = new Uint32Array(batch.nWindows * 2);
  batch.tokenIds.forEach((id, window) => {
    tokenIds.fill(id, window * 2, window * 2 + 2);
  });
  return { ...batch, seqLen: 2, tokenIds };
}

/** [nWindows · 2, dIn] → [nWindows, dIn] */
function firstTokens(data: Float32Array, dIn: number): Float32Array {
  const first = new Float32Array(data.length / 2);
  for (let at = 0; at < first.length; at += dIn) first.set(data.subarray(at * 2, at * 2 + dIn), at);
  return first;
}
