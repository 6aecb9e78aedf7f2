/**
 * The one interface behind which SAE arithmetic happens. An engine owns weights and optimizer state; batches go in,
 * sparse results come out, never whole matrices. Types only: `reference/` holds the equations in plain TypeScript
 * (the oracle), `native.ts` the C++ addon, `wasm.ts` the same C++ as WebAssembly, `select.ts` chooses.
 *
 * Notation: B = tokens in a batch, d = dIn, F = dSae, n_i = ‖wDec[i]‖₂.
 *   h = (x − bDec·[applyBDecToInput]) · wEncᵀ + bEnc                                     [B, F]
 *   p = h · n  if rescaleActsByDecoderNorm, else h                                       [B, F]
 *   a = the selected entries of relu(p), sparse
 *   x̂ = (a / n  if rescaling, else a) · wDec + bDec                                      [B, d]
 */

/** An SAE's parameters in memory, latent-major, row-major, f32. Files store the encoder as [dIn, dSae]; `formats/` transposes once. */
export interface Weights {
  readonly dIn: number;
  readonly dSae: number;
  /** [dSae, dIn] */
  readonly wEnc: Float32Array;
  /** [dSae, dIn] */
  readonly wDec: Float32Array;
  /** [dSae] */
  readonly bEnc: Float32Array;
  /** [dIn] */
  readonly bDec: Float32Array;
  /** Of an architecture that has more than these. */
  readonly extra?: ExtraParameters;
}

/** What an architecture learns beside a plain SAE's parameters, a number a latent. A gated SAE's bEnc is its bMag. */
export type ExtraParameter = "bGate" | "rMag" | "logThreshold";

/** [dSae] each */
export type ExtraParameters = Readonly<Partial<Record<ExtraParameter, Float32Array>>>;

/**
 * Architectures whose latents decide for themselves whether they fire, by a rule that is learnt. Their gradients are
 * dense. Equations: `reference/dense/`. Source: SAELens 6.18, spec §2.
 */
export type DenseArchitecture =
  /** a = relu(h); sparsity: mean_b ‖a[b] · n‖_p, p ≥ 1 */
  | { readonly kind: "standard"; readonly lpNorm: number }
  /** a = 1[g > 0] · relu(mag), gate and magnitude on one encoder; sparsity: mean_b Σ_i relu(g)·n */
  | { readonly kind: "gated" }
  /** a = h · 1[h > θ], θ learnt through straight-through estimators of the given bandwidth */
  | { readonly kind: "jumprelu"; readonly bandwidth: number; readonly sparsity: JumpReluSparsity };

/** What a jumprelu SAE pays for: mean_b Σ_i 1[h > θ], or mean_b Σ_i tanh(scale · a · n). */
export type JumpReluSparsity = { readonly loss: "step" } | { readonly loss: "tanh"; readonly scale: number };

/** Which entries of p become activations. Only positive ones ever do. Ties go to the lowest (token, latent). */
export type Selection =
  /** The ⌊k·B⌋ largest of relu(p) over the whole batch (k may be fractional). */
  | { readonly kind: "batch-topk"; readonly k: number }
  /** The k largest of relu(p) of each token (k is an integer). */
  | { readonly kind: "topk"; readonly k: number }
  /** relu(p) where p > threshold[i], strictly; thresholds [dSae]. All zeros: plain ReLU. */
  | { readonly kind: "threshold"; readonly thresholds: Float32Array }
  /** Those that fire by the architecture's own rule: the one selection of an engine that has an `architecture`. */
  | { readonly kind: "own" };

/** By size, or by given thresholds: what engines without an `architecture` select by. */
export type SizeSelection = Exclude<Selection, { kind: "own" }>;

/** Sparse activations of B tokens, CSR: token t owns entries offsets[t] … offsets[t+1], latents ascending, values > 0. */
export interface SparseActs {
  readonly nTokens: number;
  /** [nTokens + 1] */
  readonly offsets: Uint32Array;
  /** [nEntries] */
  readonly latents: Uint32Array;
  /** [nEntries], in units of p */
  readonly values: Float32Array;
}

/**
 * How the native engine looks for the entries it selects: by low-precision products that rule out nearly all of them,
 * then exact ones for the rest (docs/decisions/005-screening.md). The reference engine computes all of them.
 */
export type Screening =
  /** The margin covers every error: what is selected is what exact products of all entries would select. */
  | { readonly margin: "rigorous" }
  /** The margin covers `sigmas` standard deviations of the quantisation error: fewer exact products, rarely a miss. */
  | { readonly margin: "statistical"; readonly sigmas: number }
  /** No screen: exact products of all entries. Slow; to compare with. */
  | { readonly margin: "none" };

/** What an engine is built for. */
export interface EngineConfig {
  readonly dIn: number;
  readonly dSae: number;
  /** Matryoshka widths, strictly increasing, the last is dSae. A plain SAE has `[dSae]`. */
  readonly widths: readonly number[];
  readonly applyBDecToInput: boolean;
  readonly rescaleActsByDecoderNorm: boolean;
  /** Absent: latents are selected by size. Present: `widths` is [dSae], without rescaling. */
  readonly architecture?: DenseArchitecture;
  /** Allocates gradients' and Adam's memory; without it `trainStep` throws. */
  readonly training: boolean;
  /** Worker threads; default: all cores. Never changes a bit of any result. */
  readonly threads?: number;
  /** Default: rigorous. */
  readonly screening?: Screening;
  /**
   * How Adam's moments of the two matrices are kept. "bf16": half the memory, rounded up or down by chance (seeded by
   * the step), the parameters move by the moments before rounding. Default: f32. The reference engine has f32 alone.
   */
  readonly moments?: "f32" | "bf16";
}

/** One optimizer step. Equations: SAELens 6.18 `SAETrainer._train_step`, spec §1.3–1.8. */
export interface TrainStepOptions {
  readonly selection: Exclude<Selection, { kind: "threshold" }>;
  readonly learningRate: number;
  /** 1-based step number for Adam's bias correction. */
  readonly adamStep: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Gradients are scaled by min(1, clipNorm / (‖g‖ + 1e-6)), ‖g‖ over all parameters; null: not clipped. */
  readonly clipNorm: number | null;
  /** Coefficient of the sparsity loss (L1 or L0) of an engine with an `architecture`, and of no other. */
  readonly sparsity?: number;
  /**
   * AuxK, or a jumprelu's pre-activation loss coefficient · mean_b Σ_i dead[i]·relu(θ − h)·n: coefficient, and dead[i] = 1
   * for dead latents [dSae]. Null: none. Standard and gated have none.
   */
  readonly aux: { readonly coefficient: number; readonly dead: Uint8Array } | null;
  /**
   * Tokens of the batch whose entries are also computed without a screen and compared with what the search found. For a
   * statistical margin; changes nothing in the step. Default: none.
   */
  readonly audit?: { readonly tokens: Uint32Array };
}

/** What an audit of a step's selection saw. */
export interface AuditResult {
  /** entries selected on the audited tokens */
  readonly entries: number;
  /** entries on them that the search did not find, though they are larger than the smallest selected */
  readonly missed: number;
}

/** What one step measured, all of the forward pass before the update. */
export interface TrainStepResult {
  /** Sum of all parts below. If it is not finite the engine has left every weight and moment as it was. */
  readonly loss: number;
  /** mean over the batch of ‖x̂ − x‖² at full width */
  readonly mse: number;
  /** the same at each smaller width, in the order of `widths` without the last */
  readonly innerMse: readonly number[];
  /** auxiliary loss, its coefficient included; 0 without one. A gated SAE's: mean over the batch of ‖relu(g)·wDec + bDec − x‖² */
  readonly aux: number;
  /** sparsity loss, its coefficient included; absent where latents are selected by size */
  readonly sparsity?: number;
  /** mean number of activations a token */
  readonly l0: number;
  /** global gradient norm before clipping */
  readonly gradNorm: number;
  /** smallest activation selected (f32), or null if nothing was positive */
  readonly minPositive: number | null;
  /** [dSae] number of tokens of this batch on which each latent fired */
  readonly fired: Uint32Array;
  /** null: none was asked for */
  readonly audit: AuditResult | null;
}

/** What every SAE has. */
export type PlainParameter = "wEnc" | "wDec" | "bEnc" | "bDec";

/** Everything an SAE may learn. */
export type Parameter = PlainParameter | ExtraParameter;

/** The tensors an engine holds: parameters and Adam's first (`m.`) and second (`v.`) moments. */
export type EngineTensor = Parameter | `m.${Parameter}` | `v.${Parameter}`;

/**
 * Engines compute to the same bits within one numeric class, whatever the threads or the instruction set.
 * `fp32-fma16`: the order of sums of design invariant 1 (native). `fp32-mul-add16`: the same order, but products are
 * rounded before they are added (wasm). `f64-sums`: reference, f32 storage, f64 sums.
 */
export type NumericClass = "fp32-fma16" | "fp32-mul-add16" | "f64-sums";

/** Where the last training step or encode spent its time, in seconds, and what its search cost. */
export interface StepProfile {
  /** search and selection, all of it */
  readonly encode: number;
  /** thereof: requantising encoder rows that had changed */
  readonly quantise: number;
  /** thereof: integer products, mean of the workers */
  readonly screen: number;
  /** thereof: exact products of candidates, mean of the workers */
  readonly refine: number;
  /** entries that the screen could not rule out */
  readonly candidates: number;
  /** 1, and one more for each guess of the cut that was too high */
  readonly searches: number;
  readonly reconstruct: number;
  readonly aux: number;
  readonly gradients: number;
  readonly update: number;
}

/** Computes and remembers. One call at a time: a call made while another runs waits for it. Errors: EngineError, ShapeError. */
export interface Engine {
  readonly name: "native" | "wasm" | "reference";
  readonly numericClass: NumericClass;
  /** For people: e.g. "AVX-512, 2 threads". */
  readonly description: string;
  readonly config: EngineConfig;

  /** x [nTokens, dIn] f32 → sparse activations. */
  encode(x: Float32Array, selection: Selection): Promise<SparseActs>;

  /** Reconstruction from the latents below `width` (default dSae): [nTokens, dIn], bDec added. */
  decode(acts: SparseActs, options?: { width?: number }): Promise<Float32Array>;

  /** One forward, backward and Adam step on x [B, dIn]. */
  trainStep(x: Float32Array, options: TrainStepOptions): Promise<TrainStepResult>;

  /** How entries are looked for from the next call on; `config.screening` says how at first. */
  setScreening(screening: Screening): Promise<void>;

  /** ‖wDec[i]‖₂ for every latent, [dSae]. */
  decoderNorms(): Promise<Float32Array>;

  /** Rows [from, to) of a tensor, copied out. wEnc/wDec rows have dIn values, bEnc rows and those of extra parameters one; bDec counts as dIn rows of one. */
  read(tensor: EngineTensor, from: number, to: number): Promise<Float32Array>;

  /** Overwrites rows from `from` on with `rows`, same row lengths as `read`. */
  write(tensor: EngineTensor, from: number, rows: Float32Array): Promise<void>;

  /** Of the last training step or encode; null with an engine that does not take the time. */
  profile(): Promise<StepProfile | null>;

  /** Frees memory and threads. Later calls throw. */
  dispose(): Promise<void>;
}

/** Makes an engine with a copy of `weights` (null: zeros, to be written piece by piece); moments start at zero. */
export type EngineFactory = (config: EngineConfig, weights: Weights | null) => Promise<Engine>;
