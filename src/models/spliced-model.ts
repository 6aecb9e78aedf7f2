/**
 * A language model whose residual stream can be replaced at some layers, seen as what splice evaluations need: a batch goes
 * in, streams come out, changed streams go back in, and of the logits cross-entropy and KL come out, or those of a few tokens. Types only;
 * `open-spliced.ts` opens one.
 */
import type { MemoryPlan } from "../kernels/memory.ts";
import type { ModelInfo, OpenModelOptions, TokenBatch } from "./residual-model.ts";

/** Where to cut, and how and where to run. */
export interface OpenSplicedOptions extends OpenModelOptions {
  /**
   * Bytes that logits may take at a time, with what is computed from them; default 256 MiB. Decides how many tokens go
   * through the unembedding at once, so speed and memory, never what is computed.
   */
  readonly maxLogitsBytes?: number;
}

/** A model in pieces: tokens → first cut → … → last cut → final hidden states → logits. */
export interface SplicedModel {
  readonly info: ModelInfo;
  /** layers at which it is cut, ascending */
  readonly layers: readonly number[];
  readonly unembedding: UnembeddingPlan;
  /** seconds that ONNX Runtime has spent so far */
  readonly runSeconds: number;
  /** Memory that splicing takes, the opened model with it. */
  memory(work: SpliceWork): MemoryPlan;
  /** Clean residual streams of a batch alone, as `SplicedBatch.residuals`: what lies above the last cut is not run. */
  streams(batch: TokenBatch): Promise<readonly Float32Array[]>;
  /**
   * Runs a batch clean. What it computed is kept until `release`, so that interventions begin at the layer they change.
   * @throws {ShapeError | ModelError} as `ResidualModel.run`
   */
  run(batch: TokenBatch): Promise<SplicedBatch>;
  close(): Promise<void>;
}

/** What a spliced model will be asked to do. */
export interface SpliceWork {
  readonly batchTokens: number;
  /** tokens of the longest window */
  readonly contextSize: number;
  /** interventions compared with the clean run at once */
  readonly nRuns: number;
}

/** How logits are computed. */
export interface UnembeddingPlan {
  /** size of the vocabulary by graph or configuration; null: neither says */
  readonly vocabSize: number | null;
  /** tokens whose logits are computed at once; null: those of whole windows, because the graph's end could not be cut off */
  readonly chunkTokens: number | null;
  /** tokens that a batch should not exceed, so that logits stay within their bytes; null: no limit */
  readonly maxBatchTokens: number | null;
  /** in words, where `chunkTokens` is null: why */
  readonly problem: string | null;
}

/** One batch inside a model. */
export interface SplicedBatch {
  /** clean residual stream after each of the model's layers: [nWindows · seqLen, dIn] f32, in the order of `layers` */
  readonly residuals: readonly Float32Array[];
  /**
   * Runs the batch again with other streams after `layers`, ascending. `replace` is asked layer by layer, with the stream
   * that reaches this layer (changed already by what was replaced below), and gives back what takes its place.
   * Everything that depends on a replaced stream is computed again from it, keys and values shared by later layers too.
   */
  intervene(
    layers: readonly number[],
    replace: (layer: number, stream: Float32Array) => Promise<Float32Array> | Float32Array,
  ): Promise<Intervention>;
  /**
   * Cross-entropy and KL of interventions against the clean run at some tokens.
   * Not finite where logits are not.
   */
  score(
    tokens: ScoredTokens,
    interventions: readonly Intervention[],
    signal?: AbortSignal,
  ): Promise<TokenScores>;
  /**
   * Logits of the tokens at `rows` of [nWindows · seqLen], of the clean run or of an intervention: [rows, vocab].
   * @throws {ShapeError} more rows than `UnembeddingPlan` lets be computed at once
   */
  logits(rows: Uint32Array, intervention?: Intervention): Promise<Float32Array>;
  /** Frees an intervention, or all of the batch. */
  release(intervention?: Intervention): Promise<void>;
}

/** A run with replaced streams, as a handle. */
export interface Intervention {
  readonly id: number;
}

/** Tokens of a batch by their rows in [nWindows · seqLen], and for each the id that comes next, −1 where none does. */
export interface ScoredTokens {
  readonly rows: Uint32Array;
  readonly next: Int32Array;
}

/** In nats, one entry a token, in the order asked for; cross-entropies are NaN where no token comes next. */
export interface TokenScores {
  readonly ceClean: Float64Array;
  /** one array an intervention */
  readonly ce: readonly Float64Array[];
  /** KL(clean ‖ intervened) */
  readonly kl: readonly Float64Array[];
}
