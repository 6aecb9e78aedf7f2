/**
 * How the C++ engine is spoken to, natively and as WebAssembly alike: codes for words, numbers in an order. The mirror of
 * native/src/engine.h; what people pass is checked on the way (`arguments.ts`).
 */
import { EngineError } from "../errors.ts";
import { checkSelection, checkStep, checkTraining, tokensIn } from "./arguments.ts";
import type {
  EngineConfig,
  EngineTensor,
  Screening,
  Selection,
  SparseActs,
  TrainStepOptions,
} from "./kernels.ts";
import { PLAIN_PARAMETERS } from "./parameters.ts";

const KIND_CODE = { "batch-topk": 0, topk: 1, threshold: 2 } as const;
const MARGIN_CODE = { none: 0, rigorous: 1, statistical: 2 } as const;

/** Activations of the whole batch (batch-topk: ⌊k·B⌋) or of a token (topk); thresholds [dSae] of the third kind. */
export type SelectionCall = readonly [kind: number, count: number, thresholds: Float32Array | null];

/** @throws {ShapeError} thresholds of another length, k out of range @throws {EngineError} no such selection */
export function selectionCall(selection: Selection, nTokens: number, dSae: number): SelectionCall {
  checkSelection(selection, dSae);
  const kind = KIND_CODE[selection.kind];
  if (selection.kind === "threshold") return [kind, 0, selection.thresholds];
  return [kind, selection.kind === "topk" ? selection.k : Math.floor(selection.k * nTokens), null];
}

/** What encoding gives back. */
export type CsrArrays = Pick<SparseActs, "offsets" | "latents" | "values">;

/** `settings`: learning rate, Adam's step, β₁, β₂, ε, clipping norm (+∞: none), auxiliary coefficient. */
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
  const [kind, count] = selectionCall(selection, nTokens, config.dSae);
  const [clip, coefficient] = [clipNorm ?? Number.POSITIVE_INFINITY, aux?.coefficient ?? 0];
  const settings = Float64Array.of(learningRate, adamStep, beta1, beta2, epsilon, clip, coefficient);
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
  /** its place in `PLAIN_PARAMETERS`: 0 wEnc, 1 wDec, 2 bEnc, 3 bDec */
  readonly code: number;
  readonly rows: number;
  /** values of a row */
  readonly width: number;
}

/** @throws {EngineError} no such tensor, or a moment of an engine that does not train */
export function tensorPlace(name: EngineTensor, { dIn, dSae, training }: EngineConfig): TensorPlace {
  const code = PLAIN_PARAMETERS.findIndex((parameter) => name.endsWith(parameter));
  const owner = OWNERS.findIndex((prefix) => name === prefix + PLAIN_PARAMETERS[code]);
  if (owner < 0) throw new EngineError(`no tensor called ${name}`);
  if (owner > 0 && !training)
    throw new EngineError(`no ${name} in an engine made for inference`, {
      hint: "create the engine with `training: true`",
    });
  return { owner, code, rows: code === 3 ? dIn : dSae, width: code < 2 ? dIn : 1 };
}
