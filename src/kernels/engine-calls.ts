/**
 * How the C++ engine is spoken to, natively and as WebAssembly alike: codes for words, numbers in an order. The mirror of
 * native/src/engine.h; what people pass is checked on the way (`arguments.ts`).
 */
import { EngineError } from "../errors.ts";
import { checkAnySelection, checkStep, checkTraining, tokensIn } from "./arguments.ts";
import type {
  DenseArchitecture,
  EngineConfig,
  EngineTensor,
  Screening,
  Selection,
  SparseActs,
  TrainStepOptions,
} from "./kernels.ts";
import { parametersOf } from "./parameters.ts";

const KIND_CODE = { "batch-topk": 0, topk: 1, threshold: 2, own: 3 } as const;
const ARCHITECTURE_CODE = { standard: 1, gated: 2, jumprelu: 3 } as const;
const MARGIN_CODE = { none: 0, rigorous: 1, statistical: 2 } as const;

/** Activations of the whole batch (batch-topk: ⌊k·B⌋) or of a token (topk); thresholds [dSae] of the third kind. */
export type SelectionCall = readonly [kind: number, count: number, thresholds: Float32Array | null];

/** Kind (0: latents are selected by size), lpNorm, bandwidth, scale of tanh (0: the loss counts who fires). */
export function architectureCall(architecture: DenseArchitecture | undefined): Float64Array {
  if (architecture === undefined) return Float64Array.of(0, 1, 1, 0);
  const lpNorm = architecture.kind === "standard" ? architecture.lpNorm : 1;
  const [bandwidth, scale] =
    architecture.kind === "jumprelu"
      ? [architecture.bandwidth, architecture.sparsity.loss === "tanh" ? architecture.sparsity.scale : 0]
      : [1, 0];
  return Float64Array.of(ARCHITECTURE_CODE[architecture.kind], lpNorm, bandwidth, scale);
}

/** @throws {ShapeError} thresholds of another length, k out of range @throws {EngineError} no such selection here */
export function selectionCall(
  selection: Selection,
  nTokens: number,
  { dSae, architecture }: Pick<EngineConfig, "dSae" | "architecture">,
): SelectionCall {
  checkAnySelection(selection, { dSae, architecture });
  const kind = KIND_CODE[selection.kind];
  if (selection.kind === "own") return [kind, 0, null];
  if (selection.kind === "threshold") return [kind, 0, selection.thresholds];
  return [kind, selection.kind === "topk" ? selection.k : Math.floor(selection.k * nTokens), null];
}

/** What encoding gives back. */
export type CsrArrays = Pick<SparseActs, "offsets" | "latents" | "values">;

/** `settings`: learning rate, Adam's step, β₁, β₂, ε, clipping norm (+∞: none), auxiliary and sparsity coefficient. */
export type StepCall = readonly [
  x: Float32Array,
  kind: number,
  count: number,
  settings: Float64Array,
  dead: Uint8Array | null,
  audited: Uint32Array | null,
];

/** @throws {ShapeError | EngineError} no training engine, an empty batch, an option without a meaning */
export function stepCall(config: EngineConfig, x: Float32Array, options: TrainStepOptions): StepCall {
  checkTraining(config);
  const nTokens = tokensIn(x, config.dIn);
  checkStep(options, config, nTokens);
  const { selection, learningRate, adamStep, beta1, beta2, epsilon, clipNorm, aux, audit } = options;
  const [kind, count] = selectionCall(selection, nTokens, config);
  const adam = [learningRate, adamStep, beta1, beta2, epsilon, clipNorm ?? Number.POSITIVE_INFINITY];
  const settings = Float64Array.of(...adam, aux?.coefficient ?? 0, options.sparsity ?? 0);
  return [x, kind, count, settings, aux?.dead ?? null, audit?.tokens ?? null];
}

/** Margin and, of a statistical one, its width in standard deviations. */
export function screeningCall(screening: Screening): readonly [margin: number, sigmas: number] {
  return [MARGIN_CODE[screening.margin], screening.margin === "statistical" ? screening.sigmas : 0];
}

const OWNERS = ["", "m.", "v."] as const;

/** Where a tensor is, and its rows. */
export interface TensorPlace {
  /** 0 weights, 1 first moments, 2 second moments */
  readonly owner: number;
  /** its place in `parametersOf`: 0 wEnc, 1 wDec, 2 bEnc, 3 bDec, then the architecture's own */
  readonly code: number;
  readonly rows: number;
  /** values of a row */
  readonly width: number;
}

/** @throws {EngineError} no such tensor, or a moment of an engine that does not train */
export function tensorPlace(
  name: EngineTensor,
  { dIn, dSae, training, architecture }: EngineConfig,
): TensorPlace {
  const parameters = parametersOf(architecture);
  const code = parameters.findIndex((parameter) => name.endsWith(parameter));
  const owner = OWNERS.findIndex((prefix) => name === prefix + parameters[code]);
  if (owner < 0) throw new EngineError(`no tensor called ${name}`);
  if (owner > 0 && !training)
    throw new EngineError(`no ${name} in an engine made for inference`, {
      hint: "create the engine with `training: true`",
    });
  return { owner, code, rows: code === 3 ? dIn : dSae, width: code < 2 ? dIn : 1 };
}
