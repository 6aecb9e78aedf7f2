/** Shuffled labels: whose explanation a latent is tested with to see what chance looks like. */
import { Philox } from "../random/philox.ts";

export const CONTROL_DEFINITION =
  "The same contexts, judged by the explanation of another latent, drawn by (seed, latent) among the explained ones whose " +
  "text differs and that are not near it by decoder row. A score that is not above its control says nothing.";

/**
 * The latent whose explanation stands in for `latent`'s own; null: there is no other to draw.
 *
 * @param explanations by latent, those there are
 * @param near latents near by decoder row
 */
export function controlFor(
  latent: number,
  explanations: ReadonlyMap<number, string>,
  near: readonly number[],
  seed: number,
): number | null {
  const others = [...explanations.keys()]
    .filter(
      (other) =>
        other !== latent && !near.includes(other) && explanations.get(other) !== explanations.get(latent),
    )
    .sort((a, b) => a - b);
  if (others.length === 0) return null;
  return others[Math.floor(new Philox(seed, `explain/control/${latent}`).uniform(0) * others.length)];
}
