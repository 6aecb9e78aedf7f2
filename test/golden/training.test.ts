/**
 * Follows real SAELens training runs step by step: every loss, the gradient norm, the learning rate, the threshold, how
 * many and which latents fired (by their counters), the dead mask, and weights and Adam's moments at every snapshot.
 * On the reference engine and the WebAssembly one, and on the native one where it is built.
 */
import { describe, expect, it } from "vitest";
import type {
  DenseArchitecture,
  Engine,
  EngineTensor,
  Parameter,
  SparseActs,
  TrainStepOptions,
} from "../../src/kernels/kernels.ts";
import type { TypedArray } from "../../src/tensor/typed-array.ts";
import type { ScheduleConfig, ScheduleName } from "../../src/train/config.ts";
import { DeadLatents } from "../../src/train/dead-latents.ts";
import { coefficientAt, learningRateAt } from "../../src/train/schedule.ts";
import { nextThreshold } from "../../src/train/threshold.ts";
import { type Case, countAbsent, f32, f64, type TrainingManifest, tensors, trainingCases } from "./cases.ts";
import {
  adamTolerance,
  cutTolerance,
  expectAllNear,
  expectNear,
  largest,
  lossTolerance,
  ownCutTolerance,
  thresholdTolerance,
  weightTolerance,
} from "./closeness.ts";
import { availableEngines, countAbsentEngines, type TestEngine } from "./engines.ts";

const SELECTED = ["topk", "batchtopk", "matryoshka_batchtopk"];
const DENSE = ["standard", "gated", "jumprelu"];
const TRAINED = [...SELECTED, ...DENSE];
const cases = trainingCases();
const engines = await availableEngines();

describe("training, step by step as SAELens", () => {
  countAbsentEngines(engines);
  for (const architecture of TRAINED)
    countAbsent(
      `training run of ${architecture}`,
      cases.filter((c) => c.manifest.sae_config.architecture === architecture),
    );
  for (const found of cases) {
    const { architecture } = found.manifest.sae_config;
    if (!TRAINED.includes(architecture))
      it.skip(`${found.name}: ${architecture} is not trained by Lapidary`, () => {});
    else
      for (const engine of engines)
        describe(`${found.name} on ${engine.name}`, () => followRun(found, engine));
  }
});

function followRun(found: Case<TrainingManifest>, { create }: TestEngine): void {
  const { manifest, dir } = found;
  const { sae_config: sae, trainer, files } = manifest;
  const { d_in: dIn, d_sae: dSae } = sae;
  const architecture = denseOf(manifest);
  const parameters = parametersOf(manifest);
  const extras = parameters.slice(4);

  async function open(): Promise<Engine> {
    const init = await tensors(dir, files.init.file);
    return create(
      {
        dIn,
        dSae,
        widths: widthsOf(manifest),
        applyBDecToInput: sae.apply_b_dec_to_input,
        rescaleActsByDecoderNorm: architecture === undefined && (sae.rescale_acts_by_decoder_norm ?? true),
        ...(architecture && { architecture }),
        training: true,
        threads: 2,
      },
      {
        dIn,
        dSae,
        wEnc: transposed(f32(init, "W_enc"), dIn, dSae),
        wDec: f32(init, "W_dec"),
        bEnc: f32(init, sae.architecture === "gated" ? "b_mag" : "b_enc"),
        bDec: f32(init, "b_dec"),
        ...(architecture && {
          extra: Object.fromEntries(extras.map(([name, file]) => [name, f32(init, file)])),
        }),
      },
    );
  }

  it("every step and every snapshot", async () => {
    const engine = await open();
    const init = await tensors(dir, files.init.file);
    const trace = await tensors(dir, files.trace.file);
    const batches = f32(await tensors(dir, files.batches.file), "batches");
    const dead = new DeadLatents(dSae, trainer.dead_feature_window * trainer.batch_size);
    dead.restore(Float64Array.from(f32(init, "n_forward_passes_since_fired"), (n) => n * trainer.batch_size));
    const hasThreshold = init.has("topk_threshold");
    let threshold = hasThreshold ? Number(f64(init, "topk_threshold")[0]) : 0;
    const tolerance = lossTolerance(manifest);

    for (let step = 0; step < trainer.steps; step++) {
      const at = (name: string) => Number(trace.get(name)?.[step]);
      expect(dead.mask, `dead mask of step ${step + 1}`).toEqual(row(trace, "dead_mask", step, dSae));
      const learningRate = learningRateAt(scheduleOf(manifest), trainer.total_training_steps, step);
      expect(learningRate, `learning rate of step ${step + 1}`).toBe(at("lr"));

      const x = batches.subarray(step * trainer.batch_size * dIn, (step + 1) * trainer.batch_size * dIn);
      const result = await engine.trainStep(x, stepOptions(manifest, step, learningRate, dead.mask));

      const near = (got: number, wanted: number, what: string, absolute?: number) =>
        expectNear(got, wanted, tolerance, `${what} of step ${step + 1}`, absolute);
      near(result.loss, at("loss"), "loss");
      near(result.mse, at("loss.mse_loss"), "mse");
      const aux = trace.has("loss.pre_act_loss") ? "loss.pre_act_loss" : "loss.auxiliary_reconstruction_loss";
      near(result.aux, trace.has(aux) ? at(aux) : 0, "auxiliary loss");
      const sparsity = Object.keys(trainer.coefficient_schedulers ?? {})[0];
      expect(result.sparsity === undefined, "a sparsity loss of dense kinds alone").toBe(
        sparsity === undefined,
      );
      if (sparsity !== undefined) {
        expect(sparsityOf(manifest, step), `coefficient of step ${step + 1}`).toBe(
          at(`coefficient.${sparsity}`),
        );
        near(result.sparsity ?? Number.NaN, at(`loss.${sparsity}_loss`), "sparsity loss");
      }
      near(result.gradNorm, at("grad_norm"), "gradient norm");
      const inner = widthsOf(manifest).slice(0, -1);
      expect(result.innerMse.length).toBe(inner.length);
      for (const [level, width] of inner.entries())
        near(result.innerMse[level], at(`loss.inner_mse_loss_${width}`), `mse at width ${width}`);
      expect(result.l0, `l0 of step ${step + 1}`).toBe(at("l0"));
      if (result.minPositive !== null)
        near(
          result.minPositive,
          at("topk_cut"),
          "cut",
          architecture === undefined ? cutTolerance(manifest) : ownCutTolerance,
        );
      if (hasThreshold) {
        threshold = nextThreshold(threshold, sae.topk_threshold_lr ?? 0.01, result.minPositive);
        near(threshold, at("threshold"), "threshold", thresholdTolerance(manifest));
      }

      dead.observe(result.fired, trainer.batch_size);
      const snapshot = files[`after_step_${step + 1}`];
      if (snapshot !== undefined) {
        const golden = await tensors(dir, snapshot.file);
        const passes = Float32Array.from(dead.tokensSinceFired, (n) => n / trainer.batch_size);
        expect(passes, `who fired when, after step ${step + 1}`).toEqual(
          f32(golden, "n_forward_passes_since_fired"),
        );
        await compareSnapshot(engine, golden, manifest, step + 1);
      }
    }
    await engine.dispose();
  });

  const forward = files.step1_forward;
  if (forward === undefined) return;
  it("the first forward pass, and its gradients before clipping", async () => {
    const engine = await open();
    const golden = await tensors(dir, forward.file);
    const x = f32(golden, "sae_in");
    const acts = await engine.encode(x, selectionOf(manifest));
    const dense = toDense(acts, dSae);
    const features = f32(golden, "feature_acts");
    expect(support(dense), "selected entries").toEqual(support(features));
    expectAllNear(dense, features, 3e-6 * largest(features), "activations");

    if (architecture === undefined) {
      const positive = await engine.encode(x, { kind: "threshold", thresholds: new Float32Array(dSae) });
      const hiddenPre = f32(golden, "hidden_pre");
      const relu = hiddenPre.map((p) => Math.max(p, 0));
      expectAllNear(toDense(positive, dSae), relu, 3e-6 * largest(relu), "positive pre-activations");
    }

    const recon = f32(golden, "sae_out");
    expectAllNear(await engine.decode(acts), recon, 4e-6 * largest(recon), "reconstruction");

    const dead = row(await tensors(dir, files.trace.file), "dead_mask", 0, dSae);
    await engine.trainStep(x, { ...stepOptions(manifest, 0, 0, dead), beta1: 0, clipNorm: null });
    for (const [name, file] of parameters) {
      const gradient = inFileOrder(
        await engine.read(`m.${name}`, 0, rowsOf(name, dIn, dSae)),
        name,
        dIn,
        dSae,
      );
      const wanted = f32(golden, `grad_preclip.${file}`);
      expectAllNear(gradient, wanted, 3e-6 * largest(wanted), `gradient of ${file}`);
    }
    await engine.dispose();
  });
}

/** An architecture's parameters, by our names and by the file's: four that all have, then its own. */
function parametersOf({ sae_config: { architecture } }: TrainingManifest): [Parameter, string][] {
  const [bEnc, extras] = NAMES[architecture] ?? ["b_enc", []];
  return [["bDec", "b_dec"], ["wDec", "W_dec"], ["wEnc", "W_enc"], ["bEnc", bEnc], ...extras];
}

const NAMES: Readonly<Record<string, [bEnc: string, extras: [Parameter, string][]]>> = {
  gated: [
    "b_mag",
    [
      ["bGate", "b_gate"],
      ["rMag", "r_mag"],
    ],
  ],
  jumprelu: ["b_enc", [["logThreshold", "log_threshold"]]],
};

/** Undefined: latents are selected by size. */
function denseOf({ sae_config: sae }: TrainingManifest): DenseArchitecture | undefined {
  switch (sae.architecture) {
    case "standard":
      return { kind: "standard", lpNorm: sae.lp_norm ?? Number.NaN };
    case "gated":
      return { kind: "gated" };
    case "jumprelu": {
      const { jumprelu_sparsity_loss_mode: loss, jumprelu_tanh_scale: scale = Number.NaN } = sae;
      const bandwidth = sae.jumprelu_bandwidth ?? Number.NaN;
      return {
        kind: "jumprelu",
        bandwidth,
        sparsity: loss === "tanh" ? { loss, scale } : { loss: "step" },
      };
    }
  }
}

/** Coefficient of the sparsity loss at a step. */
function sparsityOf(
  { trainer: { coefficient_schedulers: schedulers = {} } }: TrainingManifest,
  step: number,
) {
  const [scheduler] = Object.values(schedulers);
  return scheduler && coefficientAt(scheduler.final, scheduler.warm_up_steps, step);
}

async function compareSnapshot(
  engine: Engine,
  golden: ReadonlyMap<string, TypedArray>,
  manifest: TrainingManifest,
  step: number,
): Promise<void> {
  const { d_in: dIn, d_sae: dSae } = manifest.sae_config;
  const { lr, betas, eps } = manifest.trainer;
  for (const [name, file] of parametersOf(manifest)) {
    const read = async (tensor: EngineTensor) =>
      inFileOrder(await engine.read(tensor, 0, rowsOf(name, dIn, dSae)), name, dIn, dSae);
    const v = await read(`v.${name}`);
    const base = weightTolerance(manifest, step, file);
    expectAllNear(
      await read(name),
      f32(golden, file),
      (i) => base + adamTolerance(v[i], step, lr, betas[1], eps),
      `${file} after step ${step}`,
    );
    if (!golden.has(`adam.exp_avg.${file}`)) continue;
    const firstMoment = f32(golden, `adam.exp_avg.${file}`);
    expectAllNear(
      await read(`m.${name}`),
      firstMoment,
      2e-5 * largest(firstMoment),
      `m of ${file} after step ${step}`,
    );
    const secondMoment = f32(golden, `adam.exp_avg_sq.${file}`);
    expectAllNear(v, secondMoment, 4e-5 * largest(secondMoment), `v of ${file} after step ${step}`);
  }
}

function stepOptions(
  manifest: TrainingManifest,
  step: number,
  learningRate: number,
  dead: Uint8Array,
): TrainStepOptions {
  const { sae_config: sae, trainer } = manifest;
  const preAct = sae.pre_act_loss_coefficient;
  return {
    selection: selectionOf(manifest),
    learningRate,
    adamStep: step + 1,
    beta1: trainer.betas[0],
    beta2: trainer.betas[1],
    epsilon: trainer.eps,
    clipNorm: trainer.grad_clip_global_norm,
    ...(denseOf(manifest) === undefined
      ? { aux: { coefficient: sae.aux_loss_coefficient ?? 0, dead } }
      : { sparsity: sparsityOf(manifest, step), aux: preAct == null ? null : { coefficient: preAct, dead } }),
  };
}

function selectionOf({ sae_config: { architecture, k } }: TrainingManifest): TrainStepOptions["selection"] {
  if (DENSE.includes(architecture)) return { kind: "own" };
  if (k === undefined) throw new Error("the manifest has no k");
  return { kind: architecture === "topk" ? "topk" : "batch-topk", k };
}

function widthsOf({ sae_config: { d_sae, matryoshka_widths = [] } }: TrainingManifest): number[] {
  return [...matryoshka_widths.filter((width) => width < d_sae), d_sae];
}

const schedules = new WeakMap<TrainingManifest, ScheduleConfig>();

function scheduleOf(manifest: TrainingManifest): ScheduleConfig {
  let schedule = schedules.get(manifest);
  if (schedule === undefined) {
    const { lr, lr_end, lr_scheduler_name, lr_warm_up_steps, lr_decay_steps, n_restart_cycles } =
      manifest.trainer;
    schedule = {
      name: lr_scheduler_name as ScheduleName,
      lr,
      lrEnd: lr_end ?? lr / 10,
      warmUpSteps: lr_warm_up_steps,
      decaySteps: lr_decay_steps,
      nCycles: n_restart_cycles ?? 1,
    };
    schedules.set(manifest, schedule);
  }
  return schedule;
}

function rowsOf(name: Parameter, dIn: number, dSae: number): number {
  return name === "bDec" ? dIn : dSae;
}

function inFileOrder(values: Float32Array, name: Parameter, dIn: number, dSae: number): Float32Array {
  return name === "wEnc" ? transposed(values, dSae, dIn) : values;
}

/** [rows, columns] → [columns, rows] */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c];
  return out;
}

function row(all: ReadonlyMap<string, TypedArray>, name: string, index: number, width: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, i) => Number(all.get(name)?.[index * width + i]));
}

function toDense(acts: SparseActs, dSae: number): Float32Array {
  const dense = new Float32Array(acts.nTokens * dSae);
  for (let t = 0; t < acts.nTokens; t++)
    for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++)
      dense[t * dSae + acts.latents[e]] = acts.values[e];
  return dense;
}

function support(values: Float32Array): number[] {
  return [...values.keys()].filter((i) => values[i] !== 0);
}
