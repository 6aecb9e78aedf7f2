/**
 * The way in for every SAE: whatever dialect it is laid down in (`dialects/`), it comes out as what the rest of Lapidary
 * runs, or is refused with a reason.
 */
import { basename, join } from "node:path";
import { UnsupportedError } from "../errors.ts";
import { readSaelensConfig, readSparsity } from "../formats/saelens.ts";
import { wholeWeights } from "../kernels/weight-rows.ts";
import { statIfPresent } from "../storage/file-error.ts";
import type { OpenSae, SaeFacts } from "./dialects/dialect.ts";
import { openPlace, type Place } from "./dialects/place.ts";
import { findDialect, recognise } from "./dialects/registry.ts";
import { saelens } from "./dialects/saelens.ts";
import { localSae } from "./location.ts";
import type { Sae } from "./sae.ts";

export type { OpenSae, SaeFacts } from "./dialects/dialect.ts";
export { loadTrainingSae } from "./dialects/saelens.ts";

/** What else than an SAE may come. */
export interface LoadOptions {
  /**
   * A transcoder predicts another activation than the one it reads, so what is true of SAEs is not of it. Callers that
   * know what to do with one say "read". Default: "refuse".
   */
  readonly transcoders?: "refuse" | "read";
}

/**
 * Opens an SAE for inference: a folder, a file, or `hf:owner/name[/path][@revision]`. The caller closes its rows.
 * @throws {FormatError} nothing that is known lies there, or it is damaged; of the weights only when they are read
 * @throws {UnsupportedError} valid, but not run, or not to be told apart from what would run otherwise
 */
export async function openSae(location: string, options: LoadOptions = {}): Promise<OpenSae> {
  const { dialect, place } = await recognise(await localSae(location));
  const sae = await dialect.open(place);
  try {
    if (options.transcoders !== "read") refuseTranscoder(place, sae);
    return sae;
  } catch (error) {
    await sae.rows.close();
    throw error;
  }
}

function refuseTranscoder({ path }: Place, { config: { hookName, output } }: SaeFacts): void {
  if (output === undefined) return;
  throw new UnsupportedError(
    `${path}: a transcoder, from ${hookName ?? "one activation"} to ${output.hookName ?? "another"}`,
    "this needs an SAE, which reconstructs its own input; `lapidary inspect` shows transcoders too",
  );
}

/** The same with its weights in memory. @throws as `openSae` */
export async function loadSae(location: string, options: LoadOptions = {}): Promise<Sae> {
  const { rows, gated: _, ...sae } = await openSae(location, options);
  try {
    return { ...sae, weights: await wholeWeights(rows) };
  } finally {
    await rows.close();
  }
}

/** What `loadSae` would say of the SAE beside its weights, without reading its matrices. @throws as `openSae` */
export async function loadSaeFacts(location: string): Promise<SaeFacts> {
  const { dialect, place } = await recognise(await localSae(location));
  const facts = (await dialect.describe?.(place)) ?? null;
  if (facts !== null) {
    refuseTranscoder(place, facts);
    return facts;
  }
  const { config, runnerConfig, rows } = await openSae(place.path);
  await rows.close();
  return { config, runnerConfig };
}

/** Whether `dir` is a SAELens training checkpoint that `loadTrainingSae` reads. Looks at cfg.json alone. */
export async function isTrainingCheckpoint(dir: string): Promise<boolean> {
  return (await readSaelensConfig(dir)).training !== null;
}

/** log10 firing frequencies that a SAELens directory ships, [dSae]; null where there are none. */
export async function loadSparsity(location: string): Promise<Float32Array | null> {
  const { dialect, place } = await recognise(await localSae(location));
  if (dialect !== saelens) return null;
  return readSparsity(place.folder, (await readSaelensConfig(place.folder)).dSae);
}

/**
 * The files that decide what the SAE at a path is, by their names: of a SAELens directory the three that may (absent ones
 * too), and what only a training checkpoint has; of another format the tensors and the JSON there, since any of it may matter.
 */
export async function filesOfSae(path: string): Promise<ReadonlyMap<string, string>> {
  const { dialect, place } = await recognise(path);
  const { folder, file } = place;
  if (dialect === saelens) {
    const checkpointFiles = ["activation_scaler.json", "trainer_state.pt"].filter((name) =>
      place.names.has(name),
    );
    return named(folder, ["cfg.json", "sae_weights.safetensors", "runner_cfg.json", ...checkpointFiles]);
  }
  const above = basename(folder) === "checkpoints" ? ["../config.json", "../hyperparams.json"] : [];
  const inner = [...place.names, "checkpoints/final.safetensors", ...above];
  const found: string[] = [];
  for (const name of inner.filter(
    (name) => isJson(name) || (file === null ? isTensors(name) : name === file),
  ))
    if ((await statIfPresent(join(folder, name)))?.isFile()) found.push(name);
  return named(folder, found.sort());
}

function named(folder: string, names: readonly string[]): Map<string, string> {
  return new Map(names.map((name) => [name, join(folder, name)]));
}

const isJson = (name: string) => name.endsWith(".json");
const isTensors = (name: string) => /\.(safetensors|npz|pt|pth|bin)$/.test(name);

/** Whether an SAE lies at a path, as far as can be told without reading it. */
export async function isSae(path: string): Promise<boolean> {
  return (await findDialect(await openPlace(path))) !== null;
}
