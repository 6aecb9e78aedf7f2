/**
 * What engines accept. Everything is refused here, with what was got and what was wanted, so that the arithmetic
 * behind can trust its input.
 */
import { EngineError, ShapeError } from "../errors.ts";
import type {
  DenseArchitecture,
  EngineConfig,
  EngineTensor,
  Screening,
  Selection,
  SizeSelection,
  SparseActs,
  TrainStepOptions,
  Weights,
} from "./kernels.ts";
import { extraParametersOf, PLAIN_PARAMETERS } from "./parameters.ts";

/** @throws {ShapeError} dimensions or widths that make no SAE @throws {EngineError} an architecture that cannot be */
export function checkConfig(config: EngineConfig): void {
  const { dIn, dSae, widths, threads, screening, moments, architecture } = config;
  for (const [what, d] of [
    ["dIn", dIn],
    ["dSae", dSae],
  ] as const)
    if (!Number.isInteger(d) || d < 1 || d >= 2 ** 31)
      throw new ShapeError(what, d, "an integer from 1 to 2^31");
  let last = 0;
  for (const width of widths) {
    if (!Number.isInteger(width) || width <= last)
      throw new ShapeError("widths", widths, "strictly increasing positive integers");
    last = width;
  }
  if (last !== dSae) throw new ShapeError("the last of the widths", last, dSae);
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 1024))
    throw new ShapeError("threads", threads, "an integer from 1 to 1024");
  if (screening !== undefined) checkScreening(screening);
  if (moments !== undefined && moments !== "f32" && moments !== "bf16")
    throw new EngineError(`no moments called ${String(moments)}`, { hint: "f32 or bf16" });
  if (architecture !== undefined) checkArchitecture(architecture, config);
}

function checkArchitecture(
  architecture: DenseArchitecture,
  { widths, rescaleActsByDecoderNorm }: EngineConfig,
): void {
  const { kind } = architecture;
  if (kind !== "standard" && kind !== "gated" && kind !== "jumprelu")
    throw new EngineError(`no architecture called ${String(kind)}`, { hint: "standard, gated or jumprelu" });
  if (widths.length !== 1)
    throw new ShapeError(
      `widths of a ${kind} SAE`,
      widths,
      "one, dSae",
      "matryoshka widths need a top-k SAE",
    );
  if (rescaleActsByDecoderNorm)
    throw new EngineError(`rescaleActsByDecoderNorm with a ${kind} SAE`, {
      hint: "only selection by size can be rescaled; set it to false",
    });
  if (kind === "standard" && !(architecture.lpNorm >= 1 && architecture.lpNorm < Number.POSITIVE_INFINITY))
    throw new EngineError(`lpNorm must be a finite number ≥ 1, got ${architecture.lpNorm}`);
  if (kind !== "jumprelu") return;
  const { bandwidth, sparsity } = architecture;
  if (!(bandwidth > 0 && bandwidth < Number.POSITIVE_INFINITY))
    throw new EngineError(`the bandwidth must be a positive number, got ${bandwidth}`);
  if (sparsity.loss !== "step" && sparsity.loss !== "tanh")
    throw new EngineError(`no sparsity loss called ${String((sparsity as { loss: unknown }).loss)}`, {
      hint: "step or tanh",
    });
  if (sparsity.loss === "tanh" && !(sparsity.scale > 0 && sparsity.scale < Number.POSITIVE_INFINITY))
    throw new EngineError(`the scale of tanh must be a positive number, got ${sparsity.scale}`);
}

/** Beyond this the integer sums of the screen could overflow. */
const MOST_DIMENSIONS = 60_000;

/** @throws {ShapeError} more dimensions than an engine with a screen can take */
export function checkScreenable({ dIn }: EngineConfig, engine: string): void {
  if (dIn > MOST_DIMENSIONS)
    throw new ShapeError("dIn", dIn, `at most ${MOST_DIMENSIONS} in the ${engine} engine`);
}

/** @throws {EngineError} a margin that is not known, or a statistical one without a width */
export function checkScreening(screening: Screening): void {
  const { margin } = screening;
  if (margin === "rigorous" || margin === "none") return;
  if (margin !== "statistical")
    throw new EngineError(`no margin called ${String(margin)}`, { hint: "rigorous, statistical or none" });
  if (!(screening.sigmas > 0 && screening.sigmas < Number.POSITIVE_INFINITY))
    throw new EngineError(`sigmas must be a positive number, got ${screening.sigmas}`);
}

/** @throws {ShapeError} a tensor's length does not fit the configuration @throws {EngineError} too few or too many of them */
export function checkWeights({ dIn, dSae, architecture }: EngineConfig, weights: Weights): void {
  const expected = { wEnc: dSae * dIn, wDec: dSae * dIn, bEnc: dSae, bDec: dIn } as const;
  for (const name of PLAIN_PARAMETERS)
    if (weights[name].length !== expected[name])
      throw new ShapeError(`values in ${name}`, weights[name].length, expected[name]);
  const [extras, got] = [extraParametersOf(architecture), Object.keys(weights.extra ?? {})];
  for (const name of extras) {
    const { length = 0 } = weights.extra?.[name] ?? {};
    if (length !== dSae) throw new ShapeError(`values in ${name}`, length, dSae);
  }
  const unknown = got.find((name) => !extras.some((extra) => extra === name));
  if (unknown !== undefined)
    throw new EngineError(`a ${architecture?.kind ?? "top-k"} SAE has no parameter called ${unknown}`);
}

/** The number of rows in x [nTokens, dIn]. @throws {ShapeError} not whole rows @throws {EngineError} not f32 */
export function tokensIn(x: Float32Array, dIn: number): number {
  if (!(x instanceof Float32Array))
    throw new EngineError(`x must be a Float32Array [nTokens, dIn], got ${typeof x}`);
  if (x.length % dIn !== 0) throw new ShapeError("x [nTokens, dIn]", x.length, `a multiple of dIn = ${dIn}`);
  return x.length / dIn;
}

/** @throws {ShapeError} thresholds of another length, k out of range @throws {EngineError} no such selection here */
export function checkSelection(selection: Selection, dSae: number): asserts selection is SizeSelection {
  if (selection.kind === "own")
    throw new EngineError("latents of this engine have no rule of their own by which to fire", {
      hint: "create the engine with an architecture, or select by batch-topk, topk or threshold",
    });
  if (selection.kind === "threshold") {
    if (selection.thresholds.length !== dSae)
      throw new ShapeError("thresholds", selection.thresholds.length, dSae);
    return;
  }
  if (!(selection.k > 0 && selection.k <= dSae))
    throw new ShapeError("k", selection.k, `more than 0, at most dSae = ${dSae}`);
  if (selection.kind === "topk" && !Number.isInteger(selection.k))
    throw new ShapeError("k of topk", selection.k, "an integer", "fractional k belongs to batch-topk");
}

/** @throws {EngineError} a selection by size from an SAE whose latents fire by a rule of their own */
export function checkOwn({ kind }: Selection, architecture: DenseArchitecture): void {
  if (kind !== "own")
    throw new EngineError(`latents of a ${architecture.kind} SAE are not selected by ${kind}`, {
      hint: "take the selection `own`",
    });
}

/** @throws {ShapeError | EngineError} a selection that an engine of this configuration does not have */
export function checkAnySelection(
  selection: Selection,
  { dSae, architecture }: Pick<EngineConfig, "dSae" | "architecture">,
): void {
  if (architecture === undefined) checkSelection(selection, dSae);
  else checkOwn(selection, architecture);
}

/** @throws {ShapeError} arrays of sparse activations that do not fit each other */
export function checkActs({ nTokens, offsets, latents, values }: SparseActs): void {
  if (offsets.length !== nTokens + 1)
    throw new ShapeError("offsets of sparse activations", offsets.length, nTokens + 1);
  if (latents.length !== values.length || offsets[nTokens] !== latents.length)
    throw new ShapeError("entries of sparse activations", [latents.length, values.length], offsets[nTokens]);
}

/** @throws {ShapeError} offsets that fall, a latent beyond dSae, or latents of a token that do not ascend */
export function checkEntries({ nTokens, offsets, latents }: SparseActs, dSae: number): void {
  if (offsets[0] !== 0) throw new ShapeError("the first offset of sparse activations", offsets[0], 0);
  for (let t = 0; t < nTokens; t++) {
    if (offsets[t + 1] < offsets[t] || offsets[t + 1] > latents.length)
      throw new ShapeError(
        `offset after token ${t}`,
        offsets[t + 1],
        `from ${offsets[t]} to ${latents.length}`,
      );
    for (let e = offsets[t]; e < offsets[t + 1]; e++)
      if (latents[e] >= dSae || (e > offsets[t] && latents[e] <= latents[e - 1]))
        throw new ShapeError(`latent of token ${t}`, latents[e], `ascending, below dSae = ${dSae}`);
  }
}

/** The width asked for, by default all of it. @throws {ShapeError} none that there is */
export function decodeWidth({ width }: { width?: number }, dSae: number): number {
  if (width === undefined) return dSae;
  if (!Number.isInteger(width) || width < 1 || width > dSae)
    throw new ShapeError("decode width", width, `an integer from 1 to ${dSae}`);
  return width;
}

/** @throws {ShapeError} rows [from, to) that a tensor of `rows` rows does not have */
export function checkRows(tensor: EngineTensor, from: number, to: number, rows: number): void {
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > rows)
    throw new ShapeError(`rows of ${tensor}`, [from, to], `a range within 0 … ${rows}`);
}

/** How many rows `values` are. @throws {ShapeError} no whole rows, or rows that a tensor does not have */
export function rowsIn(
  values: Float32Array,
  tensor: EngineTensor,
  from: number,
  { rows, width }: { readonly rows: number; readonly width: number },
): number {
  const n = values.length / width;
  if (!Number.isInteger(n) || !Number.isInteger(from) || from < 0 || from + n > rows)
    throw new ShapeError(
      `values for ${tensor} from row ${from}`,
      values.length,
      `whole rows of ${width} within ${rows} rows`,
    );
  return n;
}

/** @throws {EngineError} an engine that has no memory to train with */
export function checkTraining({ training }: Pick<EngineConfig, "training">): void {
  if (!training)
    throw new EngineError("trainStep on an engine made for inference", {
      hint: "create the engine with `training: true`",
    });
}

/** @throws {ShapeError | EngineError} an empty batch, or an option without a meaning */
export function checkStep(options: TrainStepOptions, config: EngineConfig, nTokens: number): void {
  const { dSae, architecture } = config;
  if (nTokens === 0) throw new ShapeError("training batch", 0, "at least one token");
  checkAnySelection(options.selection, config);
  checkSparsity(options, architecture);
  const { learningRate, adamStep, beta1, beta2, epsilon, clipNorm, aux, audit } = options;
  if (!Number.isInteger(adamStep) || adamStep < 1)
    throw new EngineError(`adamStep counts from 1, got ${adamStep}`);
  if (!Number.isFinite(learningRate) || learningRate < 0)
    throw new EngineError(`learningRate must be a finite number ≥ 0, got ${learningRate}`);
  if (!(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1))
    throw new EngineError(`beta1 and beta2 must lie in [0, 1), got ${beta1} and ${beta2}`);
  if (!(Math.fround(epsilon) > 0 && epsilon < Number.POSITIVE_INFINITY))
    throw new EngineError(`epsilon must be positive in f32, got ${epsilon}`);
  if (clipNorm !== null && !(clipNorm > 0))
    throw new EngineError(`clipNorm must be positive, got ${clipNorm}`);
  if (aux !== null && aux.dead.length !== dSae) throw new ShapeError("dead mask", aux.dead.length, dSae);
  if (aux !== null && !Number.isFinite(aux.coefficient))
    throw new EngineError(`the auxiliary coefficient must be finite, got ${aux.coefficient}`);
  const outside = audit?.tokens.find((token) => token >= nTokens);
  if (outside !== undefined) throw new ShapeError("audited token", outside, `below nTokens = ${nTokens}`);
}

/** @throws {EngineError} a coefficient that is missing, or that there is nothing for */
function checkSparsity(
  { sparsity, aux }: TrainStepOptions,
  architecture: DenseArchitecture | undefined,
): void {
  if (architecture === undefined) {
    if (sparsity !== undefined)
      throw new EngineError("a top-k SAE has no sparsity loss: k says how many fire");
    return;
  }
  if (sparsity === undefined || !(sparsity >= 0 && sparsity < Number.POSITIVE_INFINITY))
    throw new EngineError(
      `the sparsity coefficient of a ${architecture.kind} SAE must be a number ≥ 0, got ${sparsity}`,
    );
  if (aux !== null && architecture.kind !== "jumprelu")
    throw new EngineError(`a ${architecture.kind} SAE has no auxiliary loss for dead latents`, {
      hint: "aux: null",
    });
}
