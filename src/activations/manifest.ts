/**
 * `manifest.json` of a store: the one file that says which shards exist, how many rows they hold and what their bytes
 * hash to. Checked field by field on reading, since everything after trusts it.
 */
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../errors.ts";
import { readJson } from "../storage/json.ts";
import type { StoreIdentity, StoreManifest } from "./activations.ts";

export const MANIFEST_NAME = "manifest.json";

/** Widest activation a store may claim; real models stay below 2^15. */
const MAX_D_IN = 1 << 20;
const MAX_SHARDS = 1_000_000;
const SHARD_NAME = /^shard-\d{5,}\.safetensors$/;

/** File name of shard `index`: `shard-00000.safetensors` … */
export function shardName(index: number): string {
  return `shard-${String(index).padStart(5, "0")}.safetensors`;
}

/** True of names that a store writes itself: shards, the manifest, and temporary files of either. */
export function isStoreFile(name: string): boolean {
  return /^(shard-\d{5,}\.safetensors|manifest\.json)(\.\d+-\d+\.tmp)?$/.test(name);
}

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

const manifestSchema = z.strictObject({
  format: z.literal("lapidary-activations"),
  version: z.literal(1),
  dtype: z.enum(["bf16", "f32"]),
  dIn: z.number().int().positive().max(MAX_D_IN),
  hookName: z.string().min(1).max(1000),
  set: z.string().min(1).max(1000),
  provenance: z.record(z.string(), z.unknown()),
  nRows: count,
  nNonFinite: count,
  complete: z.boolean(),
  shards: z
    .array(
      z.strictObject({
        name: z.string().regex(SHARD_NAME),
        nRows: count,
        bytes: count,
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        nNonFinite: count,
        firstWindow: count.optional(),
        nWindows: count.optional(),
      }),
    )
    .max(MAX_SHARDS),
});

/** Reads and checks the manifest of the store in `dir`. @throws {FormatError} absent, not ours, or contradicting itself */
export async function readManifest(dir: string): Promise<StoreManifest> {
  const path = join(dir, MANIFEST_NAME);
  const parsed = manifestSchema.safeParse(
    await readJson(path, {
      absent: "name the folder of one store: it holds manifest.json beside its shards",
    }),
  );
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new FormatError(path, `not a manifest of an activation store: ${at(issue.path)}${issue.message}`, {
      hint: "give the folder that `lapidary harvest` or `lapidary import` wrote",
    });
  }
  const manifest = parsed.data;
  manifest.shards.forEach((shard, index) => {
    if (shard.name !== shardName(index))
      throw new FormatError(path, `shard ${index} is named ${shard.name}, expected ${shardName(index)}`);
  });
  for (const total of ["nRows", "nNonFinite"] as const) {
    const sum = manifest.shards.reduce((n, shard) => n + shard[total], 0);
    if (sum !== manifest[total])
      throw new FormatError(path, `${total} is ${manifest[total]}, its shards add up to ${sum}`);
  }
  return manifest;
}

function at(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "" : `${path.map(String).join(".")}: `;
}

/** The part of a manifest that must not change while a store grows. */
export function identityOf(store: StoreIdentity): StoreIdentity {
  const { dtype, dIn, hookName, set, provenance } = store;
  return { dtype, dIn, hookName, set, provenance };
}
