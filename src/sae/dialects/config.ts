/** Configurations as dialects make them: what a publisher's JSON says, and what goes without saying in it. */
import { FormatError, UnsupportedError } from "../../errors.ts";
import { isObject, JsonFields } from "../../formats/json-fields.ts";
import { readJson } from "../../storage/json.ts";
import type { SaeConfig } from "../sae.ts";

const MAX_JSON_BYTES = 16 * 1024 * 1024;

type Known = Pick<SaeConfig, "architecture" | "dIn" | "dSae" | "dtype" | "applyBDecToInput"> &
  Partial<SaeConfig>;

/** A configuration of which only `known` is known: no normalisation, and the rest not recorded. */
export function plainConfig(known: Known): SaeConfig {
  return {
    normalization: "none",
    reshape: "none",
    k: null,
    rescaleActsByDecoderNorm: false,
    hookName: null,
    modelName: null,
    contextSize: null,
    prependBos: null,
    metadata: {},
    ...known,
  };
}

/** The JSON object in a file. @throws {FormatError} absent, or something else; `absent`: what to try */
export async function readFields(path: string, absent?: string): Promise<JsonFields> {
  const json = await readJson(path, { maxBytes: MAX_JSON_BYTES, absent });
  if (!isObject(json)) throw new FormatError(path, "not a JSON object");
  return new JsonFields(path, json);
}

/** @throws {FormatError} a size that the JSON states is not that of the tensors */
export function expectSize(file: string, key: string, stated: number, found: number): void {
  if (stated !== found) throw new FormatError(file, `"${key}" is ${stated}, the tensors have ${found}`);
}

/** @throws {UnsupportedError} a key that changes what the numbers mean, with a value that is not run */
export function refuse(file: string, key: string, value: unknown, hint?: string): never {
  throw new UnsupportedError(
    `${file}: "${key}" is ${JSON.stringify(value)?.slice(0, 80)}, which is not run`,
    hint,
  );
}
