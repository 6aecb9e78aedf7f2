/** Which latents, when not all. */
import { Philox } from "../random/philox.ts";
import type { LatentFacts } from "./index-reader.ts";

export const SAMPLE_DEFINITION =
  "Systematic sample of the latents that fire, in order of matryoshka level, then density: every (N/n)-th from a random " +
  "start. Every latent is as likely as another, so means over the sample estimate means over all, and every level and " +
  "density has its share.";

/** `n` of the latents that fire, ascending; all of them if there are not more. */
export function sampleLatents(
  facts: readonly LatentFacts[],
  n: number,
  seed: number,
  purpose: string,
): number[] {
  const alive = facts
    .filter(({ nActive }) => nActive > 0)
    .sort((a, b) => a.level - b.level || a.density - b.density || a.latent - b.latent);
  const step = alive.length / n;
  const chosen =
    step <= 1
      ? alive
      : Array.from({ length: n }, (_, i) => {
          const start = new Philox(seed, `explain/sample/${purpose}`).uniform(0);
          return alive[Math.floor((i + start) * step)];
        });
  return chosen.map(({ latent }) => latent).sort((a, b) => a - b);
}
