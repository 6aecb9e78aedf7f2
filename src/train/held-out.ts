/**
 * How well the SAE under training reconstructs held-out rows: what the watch writes down and what the guard decides by.
 *
 * It reconstructs with the selection that training uses (batch-topk), not with the learnt threshold: from a cold start
 * T lags for a thousand steps and would make every early picture a bad one. For the same reason the threshold it
 * tells is the batch-topk cut of its own rows, the value that T is drifting towards, so a runaway shows at once.
 */
import type { ActivationStore } from "../activations/activations.ts";
import { DataError } from "../errors.ts";
import type { Engine, Selection } from "../kernels/kernels.ts";
import { FitSums } from "./fit-sums.ts";
import { visitReconstructions } from "./reconstructions.ts";
import { cutOf } from "./threshold.ts";

/** What a look at the held-out rows sees. f64. */
export interface HeldOutReading {
  /** `1 − Σ‖x−x̂‖² / Σ‖x−x̄‖²` over the rows, x̄ their mean. −1e300 if it is not a number. */
  readonly ve: number;
  /** mean over rows of ‖x−x̂‖²; 1e300 if it is not a number */
  readonly mse: number;
  /** mean number of selected activations a row */
  readonly l0: number;
  /** mean over chunks of the selection's smallest activation, in units of p; null if nothing was positive */
  readonly cut: number | null;
}

/** Activations encoded at once at most, where nothing else bounds how many of a token's latents fire. */
const MOST_ACTIVATIONS = 1 << 21;

/**
 * Rows that are encoded at once: a batch, since a selection by size is one over it; where latents fire by themselves, as
 * many rows as stay small even if every latent fires.
 */
export function heldOutChunk(selection: Selection["kind"], dSae: number, batchTokens: number): number {
  if (selection !== "own") return batchTokens;
  return Math.max(1, Math.min(batchTokens, Math.floor(MOST_ACTIVATIONS / dSae)));
}

/**
 * Reconstructs the first `tokens` rows of the held-out store (all, if it has fewer) in chunks of `chunkRows`, each with its
 * own batch selection.
 * A pure function of weights and rows. @throws {DataError} the rows do not vary
 */
export async function readHeldOut(
  engine: Engine,
  store: ActivationStore,
  options: { selection: Selection; tokens: number; chunkRows: number },
): Promise<HeldOutReading> {
  const fit = new FitSums(store.dIn);
  let [nEntries, cuts, nCuts] = [0, 0, 0];
  for await (const { activations: x } of store.stream(options.chunkRows, options.tokens)) {
    const acts = await engine.encode(x, options.selection);
    await visitReconstructions(engine, acts, (recon, first) => fit.add(x, recon, first));
    nEntries += acts.latents.length;
    const cut = cutOf(acts);
    if (cut !== null) {
      cuts += cut;
      nCuts += 1;
    }
  }
  if (!(fit.variance > 0))
    throw new DataError(`the ${fit.nRows} held-out rows do not vary; watch and guard need a real set`);
  const { ve, mse, nRows } = fit;
  return {
    ve: Number.isFinite(ve) ? ve : -1e300,
    mse: Number.isFinite(mse) ? mse : 1e300,
    l0: nEntries / nRows,
    cut: nCuts === 0 ? null : cuts / nCuts,
  };
}
