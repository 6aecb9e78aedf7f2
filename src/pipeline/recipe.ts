/**
 * The recipe: one YAML file that describes a whole run. This schema is the only definition; the JSON Schema for editors,
 * the defaults written into every run and the errors about misspelt keys all come from it. Relative paths in a recipe
 * are relative to the recipe's own folder. Nothing here reads files: `recipe-file.ts` does.
 */
import { z } from "zod";
import { DEFAULT_NEWCOMER_STEPS, DEFAULT_WATCH } from "../train/config.ts";
import { scratchProblems, scratchSchema } from "./scratch.ts";

const positive = z.number().int().positive();
const fraction = z.number().min(0).max(1);
/** A name that becomes a folder's: it cannot lead out of the one above. */
const folderName = z
  .string()
  .regex(/^\w[\w.-]*$/, "letters, digits, dot, dash and underscore only, not a dot first");

const model = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .describe("Folder with ONNX files and tokenizer, or a hub id: hf:owner/name[@revision]"),
    dtype: z
      .string()
      .nullable()
      .default(null)
      .describe('File variant by suffix, e.g. "fp16", "q4"; null: the only one there is, else fp32'),
    device: z
      .enum(["cpu", "cuda", "webgpu", "coreml", "dml"])
      .default("cpu")
      .describe("ONNX Runtime execution provider"),
    threads: positive.nullable().default(null).describe("ONNX Runtime threads; null: all cores"),
    parameters: positive
      .nullable()
      .default(null)
      .describe(
        "Parameters used per token; only for --dry-run's estimates when the model is not on this machine",
      ),
    dIn: positive
      .nullable()
      .default(null)
      .describe(
        "Width of the residual stream, for --dry-run when the model is not on this machine; a wrong one is refused",
      ),
  })
  .describe("A language model");

const source = z
  .strictObject({
    name: folderName.describe("Short name, used in tables and results"),
    kind: z
      .enum(["text", "chat"])
      .describe("text: plain documents; chat: messages, rendered by the model's own template"),
    location: z
      .string()
      .min(1)
      .describe("Folder or file (.txt, .jsonl, .jsonl.zst, .parquet), or hf:owner/name[@revision]"),
    config: z.string().nullable().default(null).describe("Hub data set configuration"),
    split: z.string().nullable().default(null).describe("Hub data set split"),
    textColumn: z.string().default("text"),
    messagesColumn: z.string().default("messages"),
    weight: z
      .number()
      .positive()
      .default(1)
      .describe("Share of the set's kept tokens, relative to the other sources"),
    fromDocument: z.number().int().min(0).default(0).describe("First document used"),
    toDocument: positive.nullable().default(null).describe("Document to stop before; null: the end"),
  })
  .describe("Where texts or chats come from");

const activations = z.strictObject({
  dtype: z
    .enum(["bf16", "f32"])
    .default("bf16")
    .describe("How activations are stored; training computes in f32"),
  import: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "Use activations made elsewhere in place of corpus and harvest: a path with {layer}, {set} and, with a baseModel, {model}",
    ),
});

const heldOutSet = z.strictObject({
  name: folderName,
  tokens: positive.nullable().default(null).describe("Kept tokens; null: eval.tokens"),
  sources: z.array(source).min(1),
});

const domainSet = heldOutSet
  .extend({
    contextSize: z
      .number()
      .int()
      .min(2)
      .nullable()
      .default(null)
      .describe(
        "Tokens a window; null: the recipe's contextSize. A longer one shows the fit beyond the training context",
      ),
  })
  .describe("Texts of another kind: measured and reported, not gated, not harvested from the base model");

const splice = z
  .strictObject({
    tokens: positive
      .default(32_768)
      .describe("Kept tokens of each held-out set that are run through the whole model"),
  })
  .describe("Reconstructions put in the residual stream's place: next-token cross-entropy and KL");

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

const train = z.strictObject({
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

const polish = z.strictObject({
  when: z
    .enum(["never", "gate", "always"])
    .default("never")
    .describe("gate: only layers whose VE is below eval.gate"),
  layers: z.array(z.number().int().min(0)).nullable().default(null).describe("Only these layers; null: all"),
  epochs: positive.default(1),
  ...schedule,
  lr: schedule.lr.default(5e-5),
});

const saeSource = z.union([
  z.strictObject({
    from: z.string().min(1).describe("Folder or hf:owner/name/path; {layer} stands for the layer"),
    zeroDecoderRows: z.enum(["refuse", "reinitialise"]).default("refuse"),
  }),
  z.strictObject({
    scratch: scratchSchema,
  }),
]);

/** The zod schema of recipes: checks one, and fills in every default. */
export const recipeSchema = z
  .strictObject({
    name: folderName.describe("Run name: runs/<name>"),
    seed: z.number().int().min(0).default(0),
    model,
    baseModel: model
      .nullable()
      .default(null)
      .describe("The model the SAE was made for; only held-out sets are harvested from it"),
    sae: saeSource.describe("Warm start from a published SAE, or from scratch"),
    layers: z
      .array(z.number().int().min(0))
      .min(1)
      .describe("Decoder layers; the hook point is a layer's output"),
    contextSize: z.number().int().min(2).default(1024).describe("Tokens a window"),
    corpus: z.strictObject({
      tokens: positive.describe("Kept tokens to train on (an epoch)"),
      packing: z
        .enum(["saelens", "document"])
        .default("saelens")
        .describe("Concatenate documents, or one document a window"),
      prependBos: z.boolean().default(true),
      excludeSpecialTokens: z.boolean().default(true),
      excludeTokenIds: z.array(z.number().int().min(0)).default([]),
      sources: z.array(source).min(1),
    }),
    activations: activations.default(activations.parse({})),
    engine: z.enum(["auto", "native", "wasm", "reference"]).default("auto"),
    train: train.default(train.parse({})),
    polish: polish.default(polish.parse({})),
    eval: z.strictObject({
      tokens: positive.default(262_144).describe("Kept tokens of each held-out set"),
      packing: z.enum(["saelens", "document"]).nullable().default(null).describe("null: the corpus' packing"),
      gate: z
        .number()
        .max(1)
        .nullable()
        .default(null)
        .describe("Least VE on every set; a layer below is marked and `run` exits 3"),
      sets: z.array(heldOutSet).min(1),
      domains: z.array(domainSet).default([]),
      splice: splice.nullable().default(splice.parse({})).describe("null: not measured"),
    }),
    output: z
      .strictObject({
        id: z
          .string()
          .regex(/^[\w{][\w.{}-]*$/, "letters, digits, dash, dot, {layer} and {k} only: it names a folder")
          .default("btk-mat-layer-{layer}-k-{k}")
          .describe("Folder of each saved SAE; {layer} and {k} are filled in"),
        license: z.string().nullable().default(null).describe("Licence of the saved SAEs, for the card"),
        title: z.string().nullable().default(null),
      })
      .default({ id: "btk-mat-layer-{layer}-k-{k}", license: null, title: null }),
  })
  .superRefine((recipe, context) => {
    const names = ["train", ...[...recipe.eval.sets, ...recipe.eval.domains].map((set) => set.name)];
    names.forEach((name, i) => {
      if (names.indexOf(name) !== i)
        context.addIssue({ code: "custom", path: ["eval", "sets"], message: `two sets named "${name}"` });
    });
    if (new Set(recipe.layers).size !== recipe.layers.length) {
      context.addIssue({ code: "custom", path: ["layers"], message: "a layer is listed twice" });
    }
    const widths = recipe.train.widths;
    if (widths?.some((w, i) => i > 0 && w <= widths[i - 1])) {
      context.addIssue({
        code: "custom",
        path: ["train", "widths"],
        message: "widths must increase strictly",
      });
    }
    const template = recipe.activations.import;
    const missing = ["{layer}", "{set}", ...(recipe.baseModel === null ? [] : ["{model}"])].filter(
      (part) => template !== null && !template.includes(part),
    );
    if (missing.length > 0) {
      context.addIssue({
        code: "custom",
        path: ["activations", "import"],
        message: `the path needs ${missing.join(" and ")}`,
      });
    }
    if (recipe.layers.length > 1 && !recipe.output.id.includes("{layer}")) {
      context.addIssue({
        code: "custom",
        path: ["output", "id"],
        message: "with several layers it needs {layer}, or they would overwrite each other",
      });
    }
    if (recipe.polish.when === "gate" && recipe.eval.gate === null) {
      context.addIssue({
        code: "custom",
        path: ["polish", "when"],
        message: "gate needs a gate: set eval.gate",
      });
    }
    const { watch: watched, earlyStop: stops, keep } = recipe.train;
    if (watched === null && (stops !== null || keep === "best")) {
      context.addIssue({
        code: "custom",
        path: ["train", stops === null ? "keep" : "earlyStop"],
        message: "it goes by held-out VE, which nobody watches: set train.watch",
      });
    }
    const problems = "scratch" in recipe.sae ? scratchProblems(recipe.sae.scratch, recipe) : [];
    for (const { path, message } of problems) context.addIssue({ code: "custom", path: [...path], message });
  });

/** A recipe with every default filled in. */
export type Recipe = z.infer<typeof recipeSchema>;
export type SourceRecipe = z.infer<typeof source>;
export type HeldOutRecipe = Recipe["eval"]["sets"][number] & { readonly contextSize?: number | null };
export type ModelRecipe = z.infer<typeof model>;
export type ScheduleRecipe = Pick<
  Recipe["train"],
  "lr" | "lrEnd" | "schedule" | "warmUpSteps" | "decaySteps" | "nCycles"
>;

/** The JSON Schema of recipes, for editors (`recipes/recipe.schema.json`). */
export function recipeJsonSchema(): Record<string, unknown> {
  return {
    $id: "lapidary-recipe",
    title: "Lapidary recipe",
    ...z.toJSONSchema(recipeSchema, { io: "input" }),
  };
}
