/** How often training gave each latent a new start, from its logs. */
import { latentsIn } from "./latent-ranges.ts";
import type { RunEvent } from "./log.ts";
import type { ResamplingNote } from "./progress.ts";

export interface TrainingCourse {
  /** lines of `events.jsonl` */
  readonly events: readonly RunEvent[];
  readonly resamplings: readonly ResamplingNote[];
  /** of the checkpoint that was kept */
  readonly steps: number;
  readonly dSae: number;
}

/**
 * Times each latent was resampled on the way to the SAE that was kept, [dSae]: not those that were undone, nor those at its
 * checkpoint (which is written first) or later. Null: not known, since a resampling's event does not name its latents, as in logs of
 * older versions.
 */
export function timesResampled({ events, resamplings, steps, dSae }: TrainingCourse): Uint32Array | null {
  const times = new Uint32Array(dSae);
  for (const { step, newcomers, undone } of resamplings) {
    if (undone === true || step >= steps || newcomers === 0) continue;
    const told = events.find(({ event, step: of }) => event === "resampling" && of === step);
    const latents = latentsIn(told?.latents, dSae);
    if (latents?.length !== newcomers) return null;
    for (const latent of latents) times[latent] += 1;
  }
  return times;
}
