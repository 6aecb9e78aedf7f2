/** A language model seen as what harvests need: token windows in, residual streams out. Types only; `open-model.ts` opens one. */

/** A rectangle of token ids, right-padded. */
export interface TokenBatch {
  readonly nWindows: number;
  /** tokens per window, padding included (≥ 2) */
  readonly seqLen: number;
  /** [nWindows, seqLen] */
  readonly tokenIds: Uint32Array;
  /** [nWindows] real tokens of each window */
  readonly lengths: Uint32Array;
}

/** What was found in a model's files. */
export interface ModelInfo {
  /** folder or hub id as the user gave it */
  readonly source: string;
  /** files harvested from, relative to the folder, with their sha-256 (graph files) or size (external data) */
  readonly files: readonly {
    readonly name: string;
    readonly sha256: string | null;
    readonly bytes: number;
  }[];
  readonly modelType: string | null;
  readonly dIn: number;
  readonly nLayers: number;
  readonly vocabSize: number | null;
  readonly contextSize: number | null;
  /** the graph quantises activations dynamically, so a window's numbers depend on its batch: run one window at a time, unpadded */
  readonly dynamicQuantization: boolean;
  readonly device: string;
  /** ONNX Runtime's intra-op threads; recorded because it may change last bits */
  readonly threads: number;
  readonly runtime: string;
}

/** The lower part of a model, tapped at one or more layers. */
export interface ResidualModel {
  readonly info: ModelInfo;
  /** tapped layers, ascending */
  readonly layers: readonly number[];
  /** seconds that ONNX Runtime has spent in `run` so far; what a wait in its queue took is not in it */
  readonly runSeconds: number;
  /**
   * Residual stream after each tapped layer: one [nWindows · seqLen, dIn] f32 array a layer, in the order of `layers`.
   * Calls may overlap; they are worked on in turn.
   */
  run(batch: TokenBatch): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Which layers to tap, and where and how to run. */
export interface OpenModelOptions {
  readonly layers: readonly number[];
  /** default "cpu" */
  readonly device?: "cpu" | "cuda" | "webgpu" | "coreml" | "dml";
  /** file dtype variant by suffix, e.g. "fp16", "q4", "quantized"; default: the only graph there is, else "fp32" */
  readonly dtype?: string;
  readonly threads?: number;
  /**
   * Names of the residual stream's tensors by layer, for graphs in which it is not found; then every one of `layers` needs
   * one. Default: they are found.
   */
  readonly tensors?: ReadonlyMap<number, string>;
}
