/**
 * The threshold of an exported SAE: training's moving average, the one at which L0 on held-out rows is k, or one a latent
 * (`train.threshold`). Whichever it is, the first two are measured and recorded, with L0 on the same rows.
 */
import { RecipeError } from "../../errors.ts";
import type { Engine } from "../../kernels/kernels.ts";
import { Philox } from "../../random/philox.ts";
import { withThreshold } from "../../sae/convert.ts";
import type { Sae } from "../../sae/sae.ts";
import { type Calibration, calibrateLatents, calibrateThreshold } from "../../train/calibration.ts";
import type { HeldOutRows } from "../../train/largest-acts.ts";
import type { RunContext } from "../context.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { heldOutPairs } from "./harvest.ts";
import { openSetStore } from "./recorded.ts";

/** Held-out rows that thresholds are calibrated on, all sets together, and how many are encoded at a time. */
const CALIBRATION_ROWS = 16_384;
const CHUNK_ROWS = 2048;
/** Rows that lie together in a store and are drawn together. */
const BLOCK_ROWS = 32;

/** What cfg.json records of the thresholds of an SAE. */
export interface ThresholdRecord {
  /** which one the SAE has */
  readonly threshold: Recipe["train"]["threshold"];
  /** the moving average's last value, f64 */
  readonly topk_threshold: number;
  readonly calibrated_threshold: number;
  readonly calibration: {
    /** rows and the sets they are from, drawn by the seed */
    readonly tokens: number;
    readonly sets: readonly string[];
    readonly seed: number;
    /** mean activations a row on them: with the moving average, with the calibrated threshold */
    readonly l0_ema: number;
    readonly l0_calibrated: number;
    /** with one a latent: L0, and how many latents have one of their own */
    readonly l0_per_latent?: number;
    readonly own_thresholds?: number;
  };
}

/**
 * `sae` with the threshold the recipe wants, and the record; null of a topk SAE, which has none.
 * @throws {RecipeError} a threshold is to be calibrated for one
 */
export async function chooseThreshold(
  context: RunContext,
  layer: number,
  { sae, k, ema }: { sae: Sae; k: number; ema: number },
): Promise<{ sae: Sae; record: ThresholdRecord | null }> {
  const { threshold } = context.recipe.train;
  if (sae.threshold === null) {
    if (threshold === "ema") return { sae, record: null };
    throw new RecipeError(
      `train.threshold is ${threshold}, but the SAE of layer ${layer} selects by topk and has no threshold`,
      "leave train.threshold out",
    );
  }
  const { dIn, dSae, applyBDecToInput, rescaleActsByDecoderNorm } = sae.config;
  const { create } = await context.engine();
  const { threads } = context.options;
  const engine = await create(
    { dIn, dSae, widths: [dSae], applyBDecToInput, rescaleActsByDecoderNorm, training: false, threads },
    sae.weights,
  );
  try {
    const rows = heldOutRows(context, layer);
    const latents = threshold === "calibrated-per-latent" ? await calibrateLatents(engine, rows, k) : null;
    const common: Calibration = latents ?? (await calibrateThreshold(engine, rows, k));
    const record: ThresholdRecord = {
      threshold,
      topk_threshold: ema,
      calibrated_threshold: common.threshold,
      calibration: {
        tokens: common.nRows,
        sets: heldOutPairs(context, ["model"]).map(({ set }) => set),
        seed: context.recipe.seed,
        l0_ema: (await countAbove(engine, rows, sae.threshold)) / common.nRows,
        l0_calibrated: common.l0,
        ...(latents && { l0_per_latent: latents.l0PerLatent, own_thresholds: latents.nOwn }),
      },
    };
    if (threshold === "ema") return { sae, record };
    return { sae: withThreshold(sae, latents?.thresholds ?? common.threshold), record };
  } finally {
    await engine.dispose();
  }
}

async function countAbove(engine: Engine, rows: HeldOutRows, thresholds: Float32Array): Promise<number> {
  let count = 0;
  for await (const x of rows())
    count += (await engine.encode(x, { kind: "threshold", thresholds })).latents.length;
  return count;
}

/** Rows of all held-out sets in equal parts, in blocks drawn by the recipe's seed; a chunk has rows of one set. */
function heldOutRows(context: RunContext, layer: number): HeldOutRows {
  const pairs = heldOutPairs(context, ["model"]);
  const wanted = Math.ceil(CALIBRATION_ROWS / pairs.length);
  return async function* () {
    for (const { set } of pairs) {
      const store = await openSetStore(context, "model", set, layer);
      try {
        const { nRows } = store;
        const nBlocks = Math.ceil(nRows / BLOCK_ROWS);
        const order = new Philox(context.recipe.seed, `calibration/${set}`).permutation(nBlocks);
        const chosen = order.subarray(0, Math.ceil(wanted / BLOCK_ROWS)).sort();
        const perChunk = CHUNK_ROWS / BLOCK_ROWS;
        // every so-many-th block, so that each chunk has rows of the whole set
        const nChunks = Math.ceil(chosen.length / perChunk);
        for (let chunk = 0; chunk < nChunks; chunk++) {
          context.options.signal?.throwIfAborted();
          const blocks = chosen.filter((_, n) => n % nChunks === chunk);
          const parts: Float32Array[] = [];
          for (const block of blocks) {
            const from = block * BLOCK_ROWS;
            parts.push((await store.rows(from, Math.min(nRows, from + BLOCK_ROWS))).activations);
          }
          yield joined(parts);
        }
      } finally {
        await store.close();
      }
    }
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const x = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    x.set(part, at);
    at += part.length;
  }
  return x;
}
