/**
 * `contract.json`: what an SAE needs to be used as it was made, and to be told from one that was changed. What it reads
 * and where, from which model and which tokens; what it scored; hashes of the files beside it; and a golden vector, whose
 * numbers lie in `contract.safetensors` (`golden.ts`). Anyone may check it (`check.ts`, docs/formats/contract.md).
 * docs/formats/contract.schema.json is written from the schema here.
 */
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../errors.ts";
import { isObject } from "../formats/json-fields.ts";
import { readJson } from "../storage/json.ts";

export const CONTRACT = "contract.json";
export const GOLDEN = "contract.safetensors";
const MAX_BYTES = 4 * 1024 * 1024;
/** Inputs that a golden vector may have. */
const MAX_INPUTS = 16;

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const text = z.string().max(10_000);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** A name beside contract.json: no path leaves the folder. */
const fileName = z.string().regex(/^[A-Za-z0-9][\w.-]{0,199}$/);

const hookPoint = z.strictObject({
  name: text.describe("TransformerLens' name, e.g. blocks.4.hook_resid_post"),
  layer: count.describe("decoder layer, from 0"),
  dIn: count.describe("width of the activation"),
  semantics: text.describe("what the activation is, in words"),
});

const model = z.strictObject({
  id: text.describe("owner/name on the hub, or the last two parts of a local path"),
  revision: text.nullable().describe("as the recipe asked for it; null: it named none"),
  device: text.nullable().describe("where the activations were computed, e.g. cpu"),
  runtime: text.nullable().describe("what computed them, with its version"),
  files: z
    .array(z.strictObject({ name: text, bytes: count, sha256: sha256.nullable() }))
    .max(10_000)
    .describe("the model's files; weights too large to hash each time by size alone (sha256 null)"),
});

const tokens = z.strictObject({
  contextSize: count.describe("tokens of a window that the SAE was trained on"),
  packing: z
    .enum(["saelens", "document"])
    .describe("saelens: documents run on, separated by BOS; document: one a window"),
  prependBos: z.boolean().describe("whether every window begins with the BOS token"),
  bosTokenId: count.nullable(),
  excludedTokenIds: z
    .array(count)
    .max(1_000_000)
    .describe("activations of these tokens were not trained on, and are not measured"),
  tokenizerHash: text.describe("sha-256 of the tokenizer's files"),
  chatTemplateHash: text.nullable().describe("sha-256 of the chat template's text; null: no chats"),
});

const metric = z.strictObject({
  value: z.number().nullable(),
  interval: z.strictObject({ low: z.number(), high: z.number() }).nullable(),
  n: z.number().describe("tokens it was computed from"),
  unit: text,
  definition: text,
});

const results = z.strictObject({
  set: text,
  isDomain: z.boolean().describe("text of another kind than the corpus"),
  nTokens: count,
  nDocuments: count,
  intervals: z.strictObject({ definition: text, level: z.number(), replicates: count, seed: count }),
  metrics: z.record(text, metric),
});

const golden = z.strictObject({
  file: z.literal(GOLDEN),
  inputs: z
    .array(z.strictObject({ set: text, row: count, tokenId: count }))
    .min(1)
    .max(MAX_INPUTS)
    .describe("which held-out activations the inputs are"),
  tolerance: z
    .number()
    .positive()
    .max(0.01)
    .describe(
      "largest difference allowed, as a share of the row's largest expected value (1 for a row of zeros)",
    ),
  meaning: text,
});

/** What cfg.json says, in its own spelling, that decides what is computed or on what. */
const cfg = z.strictObject({
  architecture: text,
  d_in: count,
  d_sae: count,
  dtype: text,
  apply_b_dec_to_input: z.boolean(),
  normalize_activations: text,
  reshape_activations: text,
  k: z.number().optional(),
  rescale_acts_by_decoder_norm: z.boolean().optional(),
  metadata: z.strictObject({
    model_name: text.nullish(),
    hook_name: text.nullish(),
    context_size: count.nullish(),
    prepend_bos: z.boolean().nullish(),
  }),
});

const contractSchema = z.strictObject({
  format: z.literal("lapidary-contract"),
  version: z.literal(1),
  hookPoint,
  model,
  activationDtype: text.describe("precision in which activations were stored, trained on and measured"),
  inputTransform: text.describe(
    "what happens to an activation before the encoder, and after the decoder, in words",
  ),
  cfg: cfg.describe("what cfg.json must say"),
  tokens: tokens
    .nullable()
    .describe("null: the activations were made elsewhere, from tokens that are not known"),
  results: z.array(results).max(1000),
  golden,
  files: z
    .record(fileName, z.strictObject({ bytes: count, sha256 }))
    .describe("every other file of the folder"),
});

export type Contract = z.infer<typeof contractSchema>;

/** The keys of a parsed cfg.json that a contract repeats. */
export function contractedCfg(json: Readonly<Record<string, unknown>>): Contract["cfg"] {
  return {
    ...picked(
      json,
      Object.keys(cfg.shape).filter((key) => key !== "metadata"),
    ),
    metadata: picked(isObject(json.metadata) ? json.metadata : {}, Object.keys(cfg.shape.metadata.shape)),
  } as Contract["cfg"];
}

function picked(json: Readonly<Record<string, unknown>>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => key in json).map((key) => [key, json[key]]));
}

/** Input transform of an SAE in words. */
export function describeTransform({
  normalize_activations: kind,
  apply_b_dec_to_input,
}: Contract["cfg"]): string {
  const normalised: Record<string, string> = {
    none: "x as the model gives it, not normalised",
    expected_average_only_in:
      "x as the model gives it: the training data's factor is folded into the weights",
    layer_norm: "x minus its mean, over its standard deviation (n − 1) plus 1e-5; undone after the decoder",
    constant_norm_rescale: "x times √dIn/‖x‖; undone after the decoder",
  };
  return `${normalised[kind] ?? kind}; ${apply_b_dec_to_input ? "b_dec is subtracted before the encoder" : "b_dec is not subtracted before the encoder"} and added after the decoder`;
}

/** A contract as it is written. @throws {FormatError} it is none: a result is not finite, for instance */
export function contractText(contract: Contract): string {
  return `${JSON.stringify(checked(CONTRACT, contract), null, 2)}\n`;
}

/** Reads contract.json of a folder. @throws {FormatError} there is none, or it is not one */
export async function readContract(dir: string): Promise<Contract> {
  const path = join(dir, CONTRACT);
  const absent = "only SAEs that Lapidary exported come with a contract";
  return checked(path, await readJson(path, { maxBytes: MAX_BYTES, absent }));
}

function checked(path: string, json: unknown): Contract {
  const parsed = contractSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FormatError(
    path,
    `not a contract: ${issue.path.map(String).join(".") || "it"}: ${issue.message}`,
    {
      hint: "docs/formats/contract.schema.json says what it must hold",
    },
  );
}

/** The schema of contract.json as JSON Schema. */
export function contractJsonSchema(): Record<string, unknown> {
  return { $id: "lapidary-contract", title: "Lapidary contract", ...z.toJSONSchema(contractSchema) };
}
