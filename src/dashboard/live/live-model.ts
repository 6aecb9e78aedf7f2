/**
 * A language model with SAEs at some of its layers, for the page: what one types becomes latents (`encode`), and steered
 * text beside the plain (`steer`). Everything is opened on first use. One request at a time; the server sees to that.
 */
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { Vocabulary } from "../../corpus/vocabulary.ts";
import { ROLES } from "../../corpus/windows.ts";
import { DataError, ShapeError, StateError, UnsupportedError } from "../../errors.ts";
import { textOf } from "../../evals/token-texts.ts";
import type { EngineFactory, SparseActs } from "../../kernels/kernels.ts";
import type { MemoryPlan } from "../../kernels/memory.ts";
import { openSplicedModel } from "../../models/open-spliced.ts";
import type { OpenModelOptions, TokenBatch } from "../../models/residual-model.ts";
import type { SplicedModel } from "../../models/spliced-model.ts";
import { readStopTokens } from "../../models/stop-tokens.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import type { Encoded, EncodedToken, EncodeRequest, SteerEvent, SteerRequest } from "../live.ts";
import { generate } from "./generate.ts";
import { promptOf, type TokenRules } from "./prompt.ts";
import { gatherRows } from "./steering.ts";

/** What the server asks. */
export interface Live {
  /** @throws {LapidaryError} what was asked cannot be done */
  encode(request: EncodeRequest, signal: AbortSignal): Promise<Encoded>;
  /** The same; and so may its iteration. */
  steer(request: SteerRequest, signal: AbortSignal): AsyncIterable<SteerEvent>;
}

/** An index whose SAE can be run. */
export interface LiveIndex extends TokenRules {
  readonly id: string;
  readonly layer: number;
  load(): Promise<Sae>;
}

/** Which model, and which SAEs at its layers. */
export interface LiveModelOptions extends Pick<OpenModelOptions, "device" | "dtype"> {
  /** ONNX files and tokenizer */
  readonly folder: string;
  readonly indexes: readonly LiveIndex[];
  readonly createEngine: EngineFactory;
  /** of the engine */
  readonly threads?: number;
  /** of ONNX Runtime */
  readonly modelThreads?: number;
  /** told what the model will hold, once that is known; throws where that is too much */
  readonly admit?: (plan: MemoryPlan) => Promise<void>;
}

/** SAEs that are kept open: two are compared. */
const OPEN_SAES = 2;

interface Opened {
  readonly model: SplicedModel;
  /** replaced when a text has stopped it */
  tokenizer: TokenizerPool;
  readonly vocabulary: Vocabulary;
  readonly stopTokens: ReadonlySet<number>;
}

/** Encodes and steers one request at a time; the caller closes it. */
export class LiveModel implements Live {
  readonly #options: LiveModelOptions;
  #opened: Promise<Opened> | null = null;
  /** by index, the one asked for last at the end */
  readonly #saes = new Map<string, InferenceSae>();

  constructor(options: LiveModelOptions) {
    this.#options = options;
  }

  async encode({ index: id, input }: EncodeRequest, signal: AbortSignal): Promise<Encoded> {
    const index = this.#index(id);
    const { model, tokenizer, vocabulary } = await this.#open();
    const { tokenIds, roles, truncated } = await promptOf(input, tokenizer, index);
    signal.throwIfAborted();
    const streams = await model.streams(oneWindow(tokenIds, tokenizer.facts.padTokenId));
    signal.throwIfAborted();
    const rows = keptRows(tokenIds, index.excludedTokenIds);
    const { dIn } = model.info;
    const x = gatherRows(streams[model.layers.indexOf(index.layer)], rows, dIn);
    const { acts, recon } = await (await this.#sae(index, dIn)).reconstruct(x);
    const rowOf = new Map(rows.map((row, i) => [row, i]));
    return {
      truncated,
      tokens: tokenIds.map((token, position): EncodedToken => {
        const about = { id: token, text: textOf([token], vocabulary), role: ROLES[roles[position]] };
        const i = rowOf.get(position);
        if (i === undefined)
          return { ...about, kept: false, latents: [], acts: [], squaredNorm: null, squaredError: null };
        return { ...about, kept: true, ...strongest(acts, i), ...squares(x, recon, i, dIn) };
      }),
    };
  }

  async *steer(request: SteerRequest, signal: AbortSignal): AsyncGenerator<SteerEvent> {
    const index = this.#index(request.index);
    const { model, tokenizer, vocabulary, stopTokens } = await this.#open();
    const prompt = await promptOf(request.input, tokenizer, index, { generationPrompt: true });
    if (prompt.truncated)
      throw new DataError(`the input is longer than the context of ${index.contextSize} tokens`, {
        hint: "shorten it: what is generated follows its end",
      });
    const inference = await this.#sae(index, model.info.dIn);
    const excluded = new Set(index.excludedTokenIds);
    yield* generate(
      {
        model,
        inference,
        layer: index.layer,
        vocabulary,
        stopTokens,
        contextSize: index.contextSize,
        isKept: (id) => !excluded.has(id),
        batchOf: (ids) => oneWindow(ids, tokenizer.facts.padTokenId),
      },
      prompt.tokenIds,
      request,
      signal,
    );
  }

  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => null);
    this.#opened = Promise.reject(new StateError("the model is closed"));
    this.#opened.catch(() => {});
    for (const sae of this.#saes.values()) await sae.dispose();
    this.#saes.clear();
    await opened?.tokenizer.close();
    await opened?.model.close();
  }

  #index(id: string): LiveIndex {
    const index = this.#options.indexes.find((each) => each.id === id);
    if (index === undefined)
      throw new DataError(`no index "${id.slice(0, 80)}" whose SAE can be run`, {
        hint: `there are: ${this.#options.indexes.map((each) => each.id).join(", ")}`,
      });
    return index;
  }

  /** Opens the model and its tokenizer; after a failure the next request tries again. */
  async #open(): Promise<Opened> {
    this.#opened ??= openAll(this.#options).catch((error: unknown) => {
      this.#opened = null;
      throw error;
    });
    const opened = await this.#opened;
    if (opened.tokenizer.isOver) opened.tokenizer = await openTokenizer(this.#options.folder);
    return opened;
  }

  /** @throws {ShapeError | UnsupportedError} the SAE is of another width than the model, or a transcoder */
  async #sae(index: LiveIndex, dIn: number): Promise<InferenceSae> {
    const { createEngine, threads } = this.#options;
    let inference = this.#saes.get(index.id);
    this.#saes.delete(index.id);
    if (inference === undefined) {
      const sae = await index.load();
      if (sae.config.output !== undefined)
        throw new UnsupportedError(
          "a transcoder does not reconstruct the stream it reads, so it is not run here",
        );
      if (sae.config.dIn !== dIn)
        throw new ShapeError("dIn of the SAE", sae.config.dIn, `the model's ${dIn}`);
      for (const [id, other] of [...this.#saes].slice(0, Math.max(0, this.#saes.size + 1 - OPEN_SAES))) {
        this.#saes.delete(id);
        await other.dispose();
      }
      inference = await openInference(sae, createEngine, { threads });
    }
    this.#saes.set(index.id, inference);
    return inference;
  }
}

async function openAll(options: LiveModelOptions): Promise<Opened> {
  const { folder, device, dtype, modelThreads, indexes, admit } = options;
  const tokenizerFolder = await readTokenizerFolder(folder);
  const model = await openSplicedModel(folder, {
    layers: [...new Set(indexes.map(({ layer }) => layer))].sort((a, b) => a - b),
    device,
    dtype,
    threads: modelThreads,
  });
  try {
    const contextSize = Math.max(...indexes.map((index) => index.contextSize));
    await admit?.(model.memory({ batchTokens: contextSize, contextSize, nRuns: 1 }));
    const { eosTokenId } = tokenizerFolder.facts;
    const stops = await readStopTokens(folder);
    return {
      model,
      tokenizer: await openTokenizer(folder),
      vocabulary: new Vocabulary(tokenizerFolder),
      stopTokens: new Set([...stops, ...(eosTokenId === null ? [] : [eosTokenId])]),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

function openTokenizer(folder: string): Promise<TokenizerPool> {
  return TokenizerPool.open(folder, { workers: 1 });
}

/** One window, of two tokens at least: graphs want that. */
function oneWindow(ids: readonly number[], padTokenId: number): TokenBatch {
  const tokenIds = new Uint32Array(Math.max(2, ids.length)).fill(padTokenId);
  tokenIds.set(ids);
  return { nWindows: 1, seqLen: tokenIds.length, tokenIds, lengths: Uint32Array.of(ids.length) };
}

function keptRows(ids: readonly number[], excludedTokenIds: readonly number[]): number[] {
  const excluded = new Set(excludedTokenIds);
  return ids.flatMap((id, row) => (excluded.has(id) ? [] : [row]));
}

/** A token's active latents, the largest activation first, of equal ones the lowest latent. */
function strongest({ offsets, latents, values }: SparseActs, token: number) {
  const entries = Array.from({ length: offsets[token + 1] - offsets[token] }, (_, i) => offsets[token] + i);
  entries.sort((a, b) => values[b] - values[a] || latents[a] - latents[b]);
  return { latents: entries.map((entry) => latents[entry]), acts: entries.map((entry) => values[entry]) };
}

function squares(x: Float32Array, recon: Float32Array, token: number, dIn: number) {
  let squaredNorm = 0;
  let squaredError = 0;
  for (let j = token * dIn; j < (token + 1) * dIn; j++) {
    squaredNorm += x[j] * x[j];
    squaredError += (x[j] - recon[j]) ** 2;
  }
  return { squaredNorm, squaredError };
}
