/** What the page may ask of a live model, checked: kinds, lengths, ranges. Nothing else gets through. */
import { z } from "zod";
import { DataError } from "../../errors.ts";
import type { EncodeRequest, SteerRequest } from "../live.ts";

/** Characters of a text, or of all messages together. */
export const MAX_CHARACTERS = 32_768;
const MAX_MESSAGES = 64;
const MAX_INTERVENTIONS = 64;
/** Tokens that may be generated at once. */
const MAX_NEW_TOKENS = 256;
/** Of an intervention's value, either sign. */
const MAX_VALUE = 1e6;
const MAX_TEMPERATURE = 10;

const input = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("text"), text: z.string().min(1) }),
    z.strictObject({
      kind: z.literal("chat"),
      messages: z
        .array(z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() }))
        .min(1)
        .max(MAX_MESSAGES),
    }),
  ])
  .refine((value) => charactersOf(value) <= MAX_CHARACTERS, {
    message: `more than ${MAX_CHARACTERS} characters`,
  });

const index = z.string().max(200);
const encodeRequest = z.strictObject({ index, input });

const latent = z.int().min(0);
const value = z.number().min(-MAX_VALUE).max(MAX_VALUE);
const steerRequest = z.strictObject({
  index,
  input,
  interventions: z
    .array(
      z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.enum(["add", "scale", "clamp"]), latent, value }),
        z.strictObject({ kind: z.literal("ablate"), latent }),
      ]),
    )
    .max(MAX_INTERVENTIONS),
  positions: z.enum(["all", "prompt", "generated"]),
  nTokens: z.int().min(1).max(MAX_NEW_TOKENS),
  sampling: z.strictObject({
    temperature: z.number().min(0).max(MAX_TEMPERATURE),
    topK: z.int().min(1).nullable(),
    seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
  }),
});

/** @throws {DataError} it is no such request */
export function parseEncodeRequest(body: unknown): EncodeRequest {
  return parse(encodeRequest, body);
}

/** @throws {DataError} it is no such request */
export function parseSteerRequest(body: unknown): SteerRequest {
  return parse(steerRequest, body);
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const { success, data, error } = schema.safeParse(body);
  if (success) return data;
  const [issue] = error.issues;
  const where = issue.path.join(".");
  throw new DataError(`the request is not understood: ${where === "" ? "" : `${where}: `}${issue.message}`);
}

function charactersOf(value: EncodeRequest["input"]): number {
  return value.kind === "text"
    ? value.text.length
    : value.messages.reduce((sum, { content }) => sum + content.length, 0);
}
