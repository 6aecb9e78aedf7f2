/** Opens an ONNX language model as a `SplicedModel`: cut at the wanted layers and before its unembedding, a session a piece. */
import { ShapeError } from "../errors.ts";
import type { MemoryPlan } from "../kernels/memory.ts";
import { planFeeds } from "./feeds.ts";
import { readModelFolder, requireWeights } from "./model-files.ts";
import { checkBatch, describe } from "./open-model.ts";
import type { ModelInfo, TokenBatch } from "./residual-model.ts";
import type { LoadedSession } from "./session-messages.ts";
import { Sessions } from "./sessions.ts";
import { type BatchSubject, type CutEngine, RunningBatch, streamNumbers } from "./spliced-batch.ts";
import { numbersPerToken, planLogits, spliceMemory } from "./spliced-memory.ts";
import type {
  OpenSplicedOptions,
  SplicedBatch,
  SplicedModel,
  SpliceWork,
  UnembeddingPlan,
} from "./spliced-model.ts";
import { LOGITS, modelPieces } from "./spliced-pieces.ts";
import { tapGraph } from "./taps.ts";

/**
 * Opens the model in folder `dir` for splicing after `options.layers` (0 = first decoder layer). All of it is loaded, in
 * pieces; weights that several pieces use (tied embeddings) are loaded into each.
 * @throws {ModelError} as `openResidualModel`, or the graph has no logits
 */
export async function openSplicedModel(dir: string, options: OpenSplicedOptions): Promise<SplicedModel> {
  const folder = await readModelFolder(dir, { dtype: options.dtype });
  const pieces = modelPieces(folder, options);
  requireWeights(folder);
  const sessions = await Sessions.open(options);
  try {
    const { decoder, embed } = folder;
    const first: LoadedSession[] = [];
    if (embed !== null) {
      const whole = tapGraph(embed.model, [], { whole: true });
      first.push(await sessions.load(whole.graph, embed.folder, embed.name));
    }
    const types = new Map<string, string>();
    const loaded: LoadedSession[] = [];
    for (const segment of [...pieces.body, pieces.final]) {
      // Alone, an unembedding of int8 weights would be fused as it is not in the whole graph.
      const plainProducts = segment === pieces.final && pieces.rowwise !== null;
      const graph = segment.build(types);
      const session = await sessions.load(graph, decoder.folder, decoder.name, { plainProducts });
      for (const { name, type } of session.outputs) types.set(name, type);
      loaded.push(session);
    }
    const final = loaded[loaded.length - 1];
    const stream = loaded[0].outputs.find(({ name }) => name === pieces.cuts[0]);
    const info = await describe(folder, pieces.nLayers, sessions, stream);
    const declared = final.outputs.find(({ name }) => name === LOGITS)?.shape.at(-1);
    const vocabSize = typeof declared === "number" && declared > 0 ? declared : info.vocabSize;
    return new CutModel(info, planLogits(pieces, vocabSize, options.maxLogitsBytes), {
      sessions,
      pieces,
      first,
      body: loaded.slice(0, -1),
      final,
      feeds: planFeeds([...first, ...loaded], folder.config),
    });
  } catch (error) {
    await sessions.close();
    throw error;
  }
}

class CutModel implements SplicedModel {
  readonly info: ModelInfo;
  readonly unembedding: UnembeddingPlan;
  readonly #engine: CutEngine;
  #tables = 0;

  constructor(info: ModelInfo, unembedding: UnembeddingPlan, engine: CutEngine) {
    this.info = info;
    this.unembedding = unembedding;
    this.#engine = engine;
  }

  get layers(): readonly number[] {
    return this.#engine.pieces.layers;
  }

  get runSeconds(): number {
    return this.#engine.sessions.runSeconds;
  }

  memory(work: SpliceWork): MemoryPlan {
    const { pieces, body, final } = this.#engine;
    return spliceMemory(pieces, {
      dIn: this.info.dIn,
      ...work,
      keptClean: numbersPerToken(body.flatMap(({ outputs }) => outputs)),
      keptPerRun: numbersPerToken(final.inputs),
      logits: this.unembedding,
    });
  }

  async streams(batch: TokenBatch): Promise<readonly Float32Array[]> {
    const { sessions, pieces, first, body, feeds } = this.#engine;
    const subject = this.#subject(batch);
    const below = [...first, ...body.slice(0, pieces.cuts.length)];
    const values = await sessions.run(below, feeds(batch), pieces.cuts);
    return pieces.cuts.map((cut) => streamNumbers(values[cut], cut, subject));
  }

  async run(batch: TokenBatch): Promise<SplicedBatch> {
    return RunningBatch.start(this.#engine, this.#subject(batch), () => this.#tables++);
  }

  #subject(batch: TokenBatch): BatchSubject {
    checkBatch(batch, this.info);
    if (batch.seqLen < 2) throw new ShapeError("tokens of a window", batch.seqLen, "2 or more, with padding");
    const { chunkTokens, maxBatchTokens } = this.unembedding;
    return { batch, dIn: this.info.dIn, chunkTokens, maxBatchTokens };
  }

  async close(): Promise<void> {
    await this.#engine.sessions.close();
  }
}
