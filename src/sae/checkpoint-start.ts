/**
 * Going on from a SAELens training checkpoint with what its optimizer had learnt. That means something only where the
 * weights are still the parameters that Adam moved: not where an input scale was folded into them, and not where latents
 * are to get new rows. Otherwise the checkpoint is a warm start like any other, and why is said.
 */
import { openSaelens, readActivationScale, readRunnerConfig, readSaelensConfig } from "../formats/saelens.ts";
import { openSaelensAdam, type SaelensAdam } from "../formats/saelens-optimizer.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import { openPlace } from "./dialects/place.ts";
import { findDialect } from "./dialects/registry.ts";
import { openTraining, saelens } from "./dialects/saelens.ts";
import { decoderNormsOf } from "./fold.ts";

/** A checkpoint as it was when it was saved. The caller closes rows and Adam's state. */
export interface CheckpointStart {
  readonly rows: WeightRows;
  /** moving average, f64 */
  readonly threshold: number;
  readonly adam: SaelensAdam;
}

/**
 * The checkpoint at a path; or `{ unused }`: why its optimizer's state is not used; or null: there is no such state.
 * @throws {FormatError} the state is damaged, or of other sizes than the weights
 */
export async function openCheckpointStart(
  path: string,
): Promise<CheckpointStart | { readonly unused: string } | null> {
  const place = await openPlace(path);
  if ((await findDialect(place)) !== saelens) return null;
  const { folder } = place;
  const config = await readSaelensConfig(folder);
  if (config.training === null) return null;
  const adam = await openSaelensAdam(folder, config);
  if (adam === null) return null;
  try {
    const unused = await whyUnused(folder, config.normalization);
    if (unused === null) {
      const directory = await openSaelens(folder);
      try {
        const { rows, threshold } = await openTraining(folder, directory);
        if (!(await decoderNormsOf(rows)).includes(0)) return { rows, threshold, adam };
      } catch (error) {
        await directory.close();
        throw error;
      }
      await directory.close();
    }
    await adam.close();
    return { unused: unused ?? "latents whose decoder row is zero get new rows" };
  } catch (error) {
    await adam.close();
    throw error;
  }
}

/** A runner that has folded the scale at the end says "none" in cfg.json, and what it trained with in runner_cfg.json alone. */
async function whyUnused(folder: string, normalization: string): Promise<string | null> {
  const recorded = (await readRunnerConfig(folder))?.sae as { normalize_activations?: unknown } | undefined;
  const trained = recorded?.normalize_activations ?? normalization;
  const scale = await readActivationScale(folder);
  if (trained === "none" && normalization === "none" && (scale ?? 1) === 1) return null;
  return `it was trained on inputs scaled by ${trained}; the weights are changed to take them as they are, and its moments are of other numbers`;
}
