/** The way out for every SAE: SAELens' format, which `saveSae` writes, and those of other libraries. */
import { join } from "node:path";
import { writeNpz } from "../../formats/npz-writer.ts";
import { writeSafetensors } from "../../formats/safetensors.ts";
import { writeJson } from "../../storage/atomic.ts";
import { writeFolder } from "../../storage/whole-folder.ts";
import type { Sae } from "../sae.ts";
import { type SaveOptions, saelensArchitecture, saveSae } from "../save.ts";
import { dictionaryLearningWriter } from "./dictionary-learning.ts";
import { gemmaScopeWriter } from "./gemma-scope.ts";
import type { Writer } from "./layout.ts";
import { lostBits } from "./losses.ts";
import { sparsifyWriter } from "./sparsify.ts";

/** Formats that are written, by what they are called on the command line. */
export const TARGETS = ["saelens", "sparsify", "dictionary-learning", "gemma-scope"] as const;
/** A format that is written, by its name on the command line. */
export type Target = (typeof TARGETS)[number];

const WRITERS: Readonly<Record<Exclude<Target, "saelens">, Writer>> = {
  sparsify: sparsifyWriter,
  "dictionary-learning": dictionaryLearningWriter,
  "gemma-scope": gemmaScopeWriter,
};

/** How exactly, and what comes beside the SAE: of `sparsity` and `extraMetadata`, what the format has a place for. */
export type WriteSaeOptions = Omit<SaveOptions, "beside">;

/** What was written, and what was not. */
export interface WrittenSae {
  /** what it is by the format's own name */
  readonly architecture: string;
  /** of the file of weights */
  readonly bytes: number;
  readonly sha256: string;
  /** what a reader of these files will not find out, in words; empty: nothing */
  readonly lost: readonly string[];
}

/**
 * Writes an SAE in the format `to`. The directory appears whole or not at all; one in the same format is replaced.
 * Weights are written as they are held unless `lost` says otherwise.
 * @throws {UnsupportedError} the numbers would mean something else in this format, or be infinite in bfloat16
 * @throws {StateError} `dir` holds something else than an SAE in this format
 */
export async function writeSae(
  dir: string,
  sae: Sae,
  to: Target,
  options: WriteSaeOptions = {},
): Promise<WrittenSae> {
  const { dtype = "float32", sparsity, extraMetadata } = options;
  const bits = lostBits(sae, dtype);
  if (to === "saelens") {
    const written = await saveSae(dir, sae, { dtype, sparsity, extraMetadata });
    return { architecture: saelensArchitecture(sae), ...written, lost: bits };
  }
  const writer = WRITERS[to];
  const { architecture, weights, json, lost } = writer.layOut(sae, dtype, dir);
  const replaceable = { what: `an SAE directory of ${writer.name}`, names: writer.files };
  const written = await writeFolder(dir, replaceable, async (folder) => {
    const write = weights.name.endsWith(".npz") ? writeNpz : writeSafetensors;
    const sizes = await write(join(folder, weights.name), weights.tensors);
    for (const [name, content] of Object.entries(json)) await writeJson(join(folder, name), content);
    return sizes;
  });
  const frequencies = sparsity === undefined ? [] : ["how often each latent fires (sparsity)"];
  return { architecture, ...written, lost: [...bits, ...lost, ...frequencies] };
}
