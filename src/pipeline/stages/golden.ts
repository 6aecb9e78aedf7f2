/** Golden vectors of a run's SAEs: which activations are their inputs, and the file that an export puts beside the weights. */
import { join } from "node:path";
import { GOLDEN } from "../../publish/contract.ts";
import { computeGolden, writeGolden } from "../../publish/golden.ts";
import { Philox } from "../../random/philox.ts";
import { openSae } from "../../sae/load.ts";
import type { RunContext } from "../context.ts";
import { heldOutPairs } from "./harvest.ts";
import { openSetStore } from "./recorded.ts";

const N_INPUTS = 8;
/** Not the recipe's, which is of training: SAEs on the same activations have the same inputs. */
const SEED = 0;

/** A held-out activation. */
export interface GoldenRow {
  readonly set: string;
  readonly row: number;
  readonly tokenId: number;
}

/** Eight rows of the held-out sets, taken in turns, drawn within their set: activations [n, dIn], and which they are. */
export async function goldenInputs(
  context: RunContext,
  layer: number,
): Promise<{ activations: Float32Array; rows: readonly GoldenRow[] }> {
  const sets = heldOutPairs(context, ["model"]).map(({ set }) => set);
  const draws = new Philox(SEED, "contract");
  const rows: GoldenRow[] = [];
  const activations: Float32Array[] = [];
  for (const [s, set] of sets.entries()) {
    const store = await openSetStore(context, "model", set, layer);
    try {
      const chosen = new Set<number>();
      for (let t = s; t < N_INPUTS; t += sets.length) chosen.add(Math.floor(draws.uniform(t) * store.nRows));
      for (const row of [...chosen].sort((a, b) => a - b)) {
        const { activations: x, tokenIds } = await store.rows(row, row + 1);
        activations.push(x.slice());
        rows.push({ set, row, tokenId: tokenIds[0] });
      }
    } finally {
      await store.close();
    }
  }
  const all = new Float32Array(activations.reduce((n, x) => n + x.length, 0));
  for (const [t, x] of activations.entries()) all.set(x, t * x.length);
  return { activations: all, rows };
}

/** Computes the golden vector from the weights as they are stored in `folder`, and writes it beside them. */
export async function addGolden(folder: string, inputs: Float32Array): Promise<void> {
  const sae = await openSae(folder);
  try {
    await writeGolden(join(folder, GOLDEN), await computeGolden(sae, inputs));
  } finally {
    await sae.rows.close();
  }
}
