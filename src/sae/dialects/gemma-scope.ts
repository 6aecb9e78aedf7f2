/**
 * Gemma Scope (Gemma 2): `params.npz` with W_enc [dIn, dSae], W_dec [dSae, dIn], b_enc, b_dec, threshold, some with w_ for
 * W_. Latents are relu(h)·1[h > threshold], h = x·W_enc + b_enc: b_dec is not taken from the input. Layer, site and model
 * stand in the path alone; where it has lost them they are not known. Source: Lieberum et al. 2024, the release's
 * tutorial; SAELens 6.18 reads it alike, but rescales embedding SAEs (see the note below).
 */
import { join } from "node:path";
import { FormatError, UnsupportedError } from "../../errors.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import type { SaeConfig } from "../sae.ts";
import { plainConfig } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { holds, inPath, type Place, pathNames } from "./place.ts";
import { expectTensors, laidOutRows, openFrom, plainLayout, storedDtype, vector } from "./tensors.ts";

const PARAMS = "params.npz";
const REPOSITORY = /^gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)$/;

export const gemmaScope: Dialect = {
  name: "Gemma Scope",
  files: PARAMS,
  recognises: (place) => holds(place, PARAMS),
  async open(place) {
    return openFrom(join(place.folder, PARAMS), (file) => open(place, file));
  },
};

async function open(place: Place, file: TensorFile): Promise<OpenSae> {
  const big = file.tensors.has("W_enc") ? "W" : "w";
  const [encoder, decoder] = [`${big}_enc`, `${big}_dec`];
  const required = [encoder, decoder, "b_enc", "b_dec"];
  if (!file.tensors.has("threshold"))
    throw new FormatError(file.path, "no threshold: a jumprelu SAE cannot do without", {
      hint: `it holds ${[...file.tensors.keys()].slice(0, 8).join(", ") || "nothing"}`,
    });
  expectTensors(file, "Gemma Scope", [...required, "threshold"], ["scaling_factor"]);
  const { known, isTranscoder, notes } = fromPath(place.path);
  const layout = plainLayout(encoder, decoder, "b_enc", "b_dec");
  const rows = await laidOutRows(file, layout, isTranscoder ? "transcoder" : "SAE");
  await refuseScaling(file, rows.dSae);
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn: rows.dIn,
      dSae: rows.dSae,
      dtype: storedDtype(file, encoder),
      applyBDecToInput: false,
      ...known,
      ...(isTranscoder ? { output: { dOut: rows.dOut, hookName: outputHook(known.hookName) } } : {}),
    }),
    threshold: await vector(file, "threshold", rows.dSae),
    runnerConfig: null,
    rows,
    origin: {
      dialect: gemmaScope.name,
      architecture: isTranscoder ? "jumprelu transcoder" : "jumprelu",
      notes,
    },
  };
}

/** Scaling factors of one say nothing; what others would be multiplied with is nowhere written down. */
async function refuseScaling(file: TensorFile, dSae: number): Promise<void> {
  if (!file.tensors.has("scaling_factor")) return;
  const factors = await vector(file, "scaling_factor", dSae);
  if (factors.some((factor) => factor !== 1))
    throw new UnsupportedError(
      `${file.path}: scaling_factor is not 1 everywhere`,
      "SAEs that were finetuned with scaling factors are not read",
    );
}

type FromPath = { -readonly [K in "hookName" | "modelName" | "contextSize" | "prependBos"]?: SaeConfig[K] };

/** What the names of a path say. */
export function fromPath(path: string): { known: FromPath; isTranscoder: boolean; notes: string[] } {
  const known: FromPath = {};
  const notes: string[] = [];
  const place = { path };
  const layer = inPath(place, /^layer_(\d{1,3})$/)?.[1];
  const repository = inPath(place, REPOSITORY);
  if (repository === null) {
    notes.push("model and site: the repository's name, which says them, is not in the path");
    notes.push("a transcoder of the same suite would look the same");
    if (layer !== undefined) notes.push(`layer ${layer}, from the folder's name`);
    return { known, isTranscoder: false, notes };
  }
  const [, size, tuning, site] = repository;
  known.modelName = `google/gemma-2-${size}${tuning === "it" ? "-it" : ""}`;
  known.contextSize = 1024;
  known.prependBos = true;
  if (pathNames(place).includes("embedding"))
    notes.push(
      "reads token embeddings before Gemma multiplies them by √dIn; SAELens divides W_enc and multiplies W_dec by √dIn, but not b_dec",
    );
  else if (layer !== undefined) known.hookName = SITES[site](layer);
  return { known, isTranscoder: site === "transcoders", notes };
}

const SITES: Readonly<Record<string, (layer: string) => string>> = {
  res: (layer) => `blocks.${layer}.hook_resid_post`,
  mlp: (layer) => `blocks.${layer}.hook_mlp_out`,
  att: (layer) => `blocks.${layer}.attn.hook_z`,
  transcoders: (layer) => `blocks.${layer}.ln2.hook_normalized`,
};

function outputHook(input: string | null | undefined): string | null {
  return input?.replace("ln2.hook_normalized", "hook_mlp_out") ?? null;
}
