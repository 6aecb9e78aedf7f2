/** The part of a recipe that is about training: its schedule, what is watched, and what happens to dead latents. */
import { z } from "zod";
import { DEFAULT_NEWCOMER_STEPS, DEFAULT_WATCH } from "../../train/config.ts";

const positive = z.number().int().positive();
const fraction = z.number().min(0).max(1);

const schedule = {
  lr: z.number().positive(),
  lrEnd: z.number().min(0).nullable().default(null).describe("Final learning rate; null: lr / 10"),
  schedule: z.enum(["constant", "cosineannealing", "cosineannealingwarmrestarts"]).default("cosineannealing"),
  warmUpSteps: z.number().int().min(0).default(0),
  decaySteps: z.number().int().min(0).default(0).describe("Linear decay to 0 over the last steps"),
  nCycles: positive.default(1).describe("Restart cycles of cosineannealingwarmrestarts"),
};

const resampling = z.strictObject({
  scale: z
    .number()
    .positive()
    .default(0.2)
    .describe("‖wEnc‖·‖wDec‖ of a newcomer relative to the live median of that product"),
  maxSelectionShare: fraction
    .default(0.1)
    .describe("Cap: share of a simulated batch's selection that newcomers may take"),
  maxThresholdRise: z
    .number()
    .min(1)
    .default(1.25)
    .describe("Cap: factor by which the simulated cut may rise"),
  maxNewcomers: positive.nullable().default(null).describe("Cap: newcomers at a boundary; null: no cap"),
  maxLatentShare: fraction
    .nullable()
    .default(null)
    .describe("Cap: newcomers at a boundary as a share of all latents; null: no cap"),
  watchSteps: positive
    .default(DEFAULT_NEWCOMER_STEPS)
    .describe("Steps for which the newcomers' share of the selection is watched and recorded"),
  maxWatchedShare: fraction
    .nullable()
    .default(null)
    .describe(
      "Past this share of a step's selection in those steps training rolls back; null: only recorded",
    ),
});

const watch = z
  .strictObject({
    everySteps: positive.default(DEFAULT_WATCH.everySteps),
    tokens: positive.default(DEFAULT_WATCH.tokens).describe("Held-out rows the watch looks at"),
    divergenceChecks: positive
      .default(DEFAULT_WATCH.divergenceChecks)
      .describe("So many checks in a row with VE falling, or the training loss rising, are divergence"),
    maxGradNormRise: z
      .number()
      .gt(1)
      .default(DEFAULT_WATCH.maxGradNormRise)
      .describe("Recent gradient norms past so many times their running median are divergence"),
    plateauChecks: positive.default(DEFAULT_WATCH.plateauChecks),
    plateauImprovement: z
      .number()
      .min(0)
      .default(DEFAULT_WATCH.plateauImprovement)
      .describe("The best VE improving by less than this over plateauChecks checks is a plateau"),
  })
  .describe("Looks at held-out rows while training, says what it sees, and keeps the best checkpoint");

const earlyStop = z
  .strictObject({
    minImprovement: z.number().min(0).default(0.0005),
    checks: positive.default(5).describe("Checks of the watch"),
  })
  .describe(
    "Ends training once the best held-out VE improved by less than minImprovement over so many checks",
  );

const guard = z.strictObject({
  everySteps: positive.default(200),
  tokens: positive.default(4096).describe("Held-out rows the guard looks at"),
  maxVeDrop: z
    .number()
    .positive()
    .default(0.05)
    .describe("Largest allowed fall of held-out VE below the best seen"),
  maxThresholdRise: z
    .number()
    .min(1)
    .default(2)
    .describe("Largest allowed rise of the threshold since the last good check"),
});

const screening = z
  .strictObject({
    margin: z
      .enum(["rigorous", "statistical"])
      .default("rigorous")
      .describe("rigorous: never misses an activation; statistical: fewer exact products, and an audit"),
    sigmas: z
      .number()
      .positive()
      .default(6)
      .describe("Statistical margin, in standard deviations of the quantisation error"),
    auditEverySteps: positive.default(50),
    auditTokens: positive.default(64).describe("Tokens of a batch whose selection is checked exactly"),
    maxMissedShare: fraction
      .default(1e-4)
      .describe("Past this share of audited entries missed, the rest of the run screens rigorously"),
  })
  .describe("How the native engine looks for activations in training; evaluation is always rigorous");

/** `train:` of a recipe. */
export const trainSchema = z.strictObject({
  epochs: positive.default(3),
  batchTokens: positive.default(4096),
  ...schedule,
  lr: schedule.lr.default(1e-4),
  k: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("Mean active latents a token; null: the source SAE's"),
  widths: z
    .array(positive)
    .min(1)
    .nullable()
    .default(null)
    .describe("Matryoshka widths; null: the source SAE's"),
  rescaleActsByDecoderNorm: z
    .boolean()
    .nullable()
    .default(null)
    .describe("null: the source SAE's, else true"),
  auxCoefficient: z
    .number()
    .min(0)
    .default(0)
    .describe("AuxK coefficient; 0: no auxiliary loss (resampling revives latents instead)"),
  thresholdLr: fraction.default(0.01).describe("Rate of the threshold's moving average"),
  beta1: fraction.default(0.9),
  beta2: fraction.default(0.999),
  epsilon: z.number().positive().default(1e-8),
  clipNorm: z.number().positive().nullable().default(1).describe("Global gradient norm; null: not clipped"),
  moments: z
    .enum(["f32", "bf16"])
    .default("f32")
    .describe("How Adam's moments are kept; bf16: half their memory, rounded by chance, another result"),
  deadAfterTokens: positive
    .nullable()
    .default(null)
    .describe("A latent is dead after so many tokens without firing; null: 1000 batches"),
  resampling: resampling.nullable().default(resampling.parse({})),
  guard: guard.nullable().default(guard.parse({})),
  watch: watch.nullable().default(watch.parse({})),
  earlyStop: earlyStop.nullable().default(null),
  keep: z
    .enum(["last", "best"])
    .default("last")
    .describe("Which SAE is exported: the last one, or the checkpoint with the best held-out VE"),
  threshold: z
    .enum(["ema", "calibrated", "calibrated-per-latent"])
    .default("ema")
    .describe(
      "The exported threshold: training's moving average; the one at which L0 on held-out rows is k; or one a latent, at which it fires as often there as in training's selection",
    ),
  screening: screening.default(screening.parse({})),
  checkpointEverySteps: positive.default(500),
  logEverySteps: positive.default(10),
});

/** `polish:` of a recipe. */
export const polishSchema = z.strictObject({
  when: z
    .enum(["never", "gate", "always"])
    .default("never")
    .describe("gate: only layers whose VE is below eval.gate"),
  layers: z.array(z.number().int().min(0)).nullable().default(null).describe("Only these layers; null: all"),
  epochs: positive.default(1),
  ...schedule,
  lr: schedule.lr.default(5e-5),
});
