/**
 * The recipe: one YAML file that describes a whole run. This schema is the only definition; the JSON Schema for editors,
 * the defaults written into every run and the errors about misspelt keys all come from it. Relative paths in a recipe
 * are relative to the recipe's own folder. Nothing here reads files: `file.ts` does.
 */
import { z } from "zod";
import { scratchProblems, scratchSchema } from "./scratch.ts";
import { sourceProblems, sourceSchema } from "./source.ts";
import { polishSchema, trainSchema } from "./train.ts";

const positive = z.number().int().positive();
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
      .describe(
        "Folder or file (.txt, .jsonl, .jsonl.zst, .parquet, .arrow), a folder of `datasets`' save_to_disk, or hf:owner/name[@revision]",
      ),
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

const saeSource = z.union([sourceSchema, z.strictObject({ scratch: scratchSchema })]);

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
    train: trainSchema.default(trainSchema.parse({})),
    polish: polishSchema.default(polishSchema.parse({})),
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
    const problems =
      "scratch" in recipe.sae
        ? scratchProblems(recipe.sae.scratch, recipe)
        : sourceProblems(recipe.sae, recipe);
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
