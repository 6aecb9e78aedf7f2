/** How often each latent fired, on disk: one safetensors file holds several sets, `<set>` [dSae] f64 counts. */
import { FormatError } from "../errors.ts";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.ts";

const FORMAT = "lapidary-firing";
const VERSION = "1";

/** Counts of one set's tokens. */
export interface FiringCounts {
  /** [dSae] tokens on which each latent fired */
  readonly counts: Float64Array;
  readonly nTokens: number;
}

export async function saveFiring(path: string, sets: Readonly<Record<string, FiringCounts>>): Promise<void> {
  const tokens = Object.entries(sets).map(([set, { nTokens }]) => [`tokens/${set}`, String(nTokens)]);
  await writeSafetensors(
    path,
    Object.entries(sets).map(([name, { counts }]) => ({
      name,
      dtype: "F64",
      shape: [counts.length],
      data: counts,
    })),
    { format: FORMAT, version: VERSION, ...(Object.fromEntries(tokens) as Record<string, string>) },
  );
}

/** @throws {FormatError} another file, or counts that no set of so many tokens gives */
export async function loadFiring(path: string): Promise<Map<string, FiringCounts>> {
  const file = await openSafetensors(path);
  try {
    if (file.metadata.format !== FORMAT || file.metadata.version !== VERSION)
      throw new FormatError(path, `holds no firing counts of version ${VERSION}`, { hint: "evaluate again" });
    const sets = new Map<string, FiringCounts>();
    for (const [set, { dtype, shape }] of file.tensors) {
      const nTokens = Number(file.metadata[`tokens/${set}`]);
      if (dtype !== "F64" || shape.length !== 1 || !(nTokens > 0))
        throw new FormatError(
          path,
          `counts of "${set}" are ${dtype} [${shape.join(", ")}], expected F64 [dSae]`,
        );
      const counts = (await file.read(set)) as Float64Array;
      if (!counts.every((count) => count >= 0 && count <= nTokens))
        throw new FormatError(path, `"${set}" holds a count outside 0 to its ${nTokens} tokens`);
      sets.set(set, { counts, nTokens });
    }
    return sets;
  } finally {
    await file.close();
  }
}

/** Counts of several sets together, one at least. */
export function togetherFired(sets: readonly FiringCounts[]): FiringCounts {
  const counts = new Float64Array(sets[0].counts.length);
  for (const set of sets)
    set.counts.forEach((count, latent) => {
      counts[latent] += count;
    });
  return { counts, nTokens: sets.reduce((sum, { nTokens }) => sum + nTokens, 0) };
}
