/**
 * The reference engine: the equations in plain TypeScript, f32 storage and f64 sums. It is the oracle the fast engines
 * are tested against, and what runs where no addon can be built. It is not fast: one core, on the event loop, with a
 * breath now and then.
 */
import { EngineError } from "../../errors.ts";
import {
  checkActs,
  checkConfig,
  checkEntries,
  checkOwn,
  checkRows,
  checkScreening,
  checkSelection,
  checkStep,
  checkTraining,
  checkWeights,
  decodeWidth,
  rowsIn,
  tokensIn,
} from "../arguments.ts";
import type {
  Engine,
  EngineConfig,
  EngineFactory,
  EngineTensor,
  Parameter,
  Screening,
  Selection,
  SparseActs,
  TrainStepOptions,
  TrainStepResult,
  Weights,
} from "../kernels.ts";
import { parametersOf } from "../parameters.ts";
import { Turns } from "../turns.ts";
import { coefficients, visitReconstructions } from "./decode.ts";
import { ruleOf } from "./dense/rules.ts";
import { denseTrainStep } from "./dense/train-step.ts";
import { decoderNorms, visitPreActs } from "./encode.ts";
import { allocateExtra, allocateGradients, type Gradients, tensorOf } from "./gradients.ts";
import { createSelector, ownSelector, type Selector } from "./select.ts";
import { trainStep } from "./train-step.ts";

/** Copies `weights`; the caller's arrays stay the caller's. */
export const createReferenceEngine: EngineFactory = async (config, weights) => {
  checkConfig(config);
  if (weights !== null) checkWeights(config, weights);
  if (config.moments === "bf16")
    throw new EngineError("the reference engine keeps moments in f32 only", {
      hint: "take the native engine, or leave out moments: bf16",
    });
  return new ReferenceEngine(config, weights);
};

interface TrainingMemory {
  readonly m: Gradients;
  readonly v: Gradients;
  readonly gradients: Gradients;
}

class ReferenceEngine implements Engine {
  readonly name = "reference";
  readonly numericClass = "f64-sums";
  readonly description = "plain TypeScript, one thread";
  readonly config: EngineConfig;
  readonly #turns = new Turns();
  #weights: Weights | null;
  #training: TrainingMemory | null;
  /** n of every latent while the decoder stays as it is. */
  #norms: Float32Array | null = null;

  constructor(config: EngineConfig, weights: Weights | null) {
    const { dIn, dSae } = config;
    this.config = { ...config, widths: [...config.widths] };
    this.#weights = {
      dIn,
      dSae,
      wEnc: weights?.wEnc.slice() ?? new Float32Array(dSae * dIn),
      wDec: weights?.wDec.slice() ?? new Float32Array(dSae * dIn),
      bEnc: weights?.bEnc.slice() ?? new Float32Array(dSae),
      bDec: weights?.bDec.slice() ?? new Float32Array(dIn),
      ...(weights?.extra === undefined
        ? allocateExtra(config.architecture, dSae)
        : { extra: structuredClone(weights.extra) }),
    };
    this.#training = config.training
      ? { m: allocateGradients(config), v: allocateGradients(config), gradients: allocateGradients(config) }
      : null;
  }

  encode(x: Float32Array, selection: Selection): Promise<SparseActs> {
    return this.#turns.take(async () => {
      const weights = this.#live();
      const { dIn, dSae, architecture } = this.config;
      const nTokens = tokensIn(x, dIn);
      if (architecture !== undefined) {
        checkOwn(selection, architecture);
        const rule = ruleOf(architecture, weights);
        const selector = ownSelector(rule.activation, nTokens, dSae);
        return this.#selected(x, { ...weights, bEnc: rule.bias }, selector);
      }
      checkSelection(selection, dSae);
      return this.#selected(x, weights, createSelector(selection, nTokens, dSae));
    });
  }

  async #selected(x: Float32Array, weights: Weights, selector: Selector): Promise<SparseActs> {
    await visitPreActs(x, weights, this.config, this.#scale(weights), (p, first, n) =>
      selector.take(p, first, n),
    );
    return selector.finish();
  }

  decode(acts: SparseActs, options: { width?: number } = {}): Promise<Float32Array> {
    return this.#turns.take(async () => {
      const weights = this.#live();
      const { dIn, dSae } = this.config;
      const width = decodeWidth(options, dSae);
      checkActs(acts);
      checkEntries(acts, dSae);
      const out = new Float32Array(acts.nTokens * dIn);
      const coefficient = coefficients(acts, this.#scale(weights));
      await visitReconstructions(acts, coefficient, weights, [width], (token, _, recon) =>
        out.set(recon, token * dIn),
      );
      return out;
    });
  }

  trainStep(x: Float32Array, options: TrainStepOptions): Promise<TrainStepResult> {
    return this.#turns.take(async () => {
      const weights = this.#live();
      checkTraining(this.config);
      checkStep(options, this.config, tokensIn(x, this.config.dIn));
      if (this.#training === null) throw new EngineError("the engine has been disposed");
      this.#norms = null;
      const step = this.config.architecture === undefined ? trainStep : denseTrainStep;
      return step({ config: this.config, weights, ...this.#training }, x, options);
    });
  }

  /** There is nothing to set: every entry is computed. */
  setScreening(screening: Screening): Promise<void> {
    return this.#turns.take(async () => {
      this.#live();
      checkScreening(screening);
    });
  }

  decoderNorms(): Promise<Float32Array> {
    return this.#turns.take(async () => this.#currentNorms(this.#live()).slice());
  }

  read(tensor: EngineTensor, from: number, to: number): Promise<Float32Array> {
    return this.#turns.take(async () => {
      const { data, rows, width } = this.#tensor(tensor);
      checkRows(tensor, from, to, rows);
      return data.slice(from * width, to * width);
    });
  }

  write(tensor: EngineTensor, from: number, values: Float32Array): Promise<void> {
    return this.#turns.take(async () => {
      const { data, rows, width } = this.#tensor(tensor);
      rowsIn(values, tensor, from, { rows, width });
      if (tensor === "wDec") this.#norms = null;
      data.set(values, from * width);
    });
  }

  async profile(): Promise<null> {
    return null;
  }

  dispose(): Promise<void> {
    return this.#turns.take(async () => {
      this.#weights = null;
      this.#training = null;
      this.#norms = null;
    });
  }

  #live(): Weights {
    if (this.#weights === null) throw new EngineError("the engine has been disposed");
    return this.#weights;
  }

  #currentNorms(weights: Weights): Float32Array {
    this.#norms ??= decoderNorms(weights);
    return this.#norms;
  }

  #scale(weights: Weights): Float32Array | null {
    return this.config.rescaleActsByDecoderNorm ? this.#currentNorms(weights) : null;
  }

  #tensor(name: EngineTensor): { data: Float32Array; rows: number; width: number } {
    const weights = this.#live();
    const [owner, parameter] = this.#split(name);
    const source = owner === "weights" ? weights : this.#training?.[owner];
    if (source === undefined)
      throw new EngineError(`no ${name} in an engine made for inference`, {
        hint: "create the engine with `training: true`",
      });
    const data = tensorOf(source, parameter);
    const width = parameter === "wEnc" || parameter === "wDec" ? this.config.dIn : 1;
    return { data, rows: data.length / width, width };
  }

  /** @throws {EngineError} none of this architecture's */
  #split(name: EngineTensor): readonly [owner: "weights" | "m" | "v", parameter: Parameter] {
    const isMoment = name.startsWith("m.") || name.startsWith("v.");
    const parameter = isMoment ? name.slice(2) : name;
    const found = parametersOf(this.config.architecture).find((own) => own === parameter);
    if (found === undefined) throw new EngineError(`no tensor called ${name}`);
    return [isMoment ? (name[0] as "m" | "v") : "weights", found];
  }
}
