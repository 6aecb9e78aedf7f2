/**
 * Draws tokens where the SAE reconstructs badly, and returns the directions of their errors: where newcomers start.
 */
import type { Engine, Selection } from "../kernels/kernels.ts";
import type { Philox } from "../random/philox.ts";
import { visitReconstructions } from "./reconstructions.ts";

/** A batch gives at most half its tokens; with more draws wanted, more batches are read. */
const DRAWS_A_BATCH = 0.5;

/**
 * Draws up to `wanted` tokens one after another, each with probability ∝ ‖x − x̂‖² among the tokens not drawn yet, from
 * as many of `batches` as `wanted` needs; returns u = (x − x̂)/‖x − x̂‖ of each, first drawn first.
 *
 * Done in one pass by exponential keys: token t gets the key `−ln(1 − U_t) / ‖x_t − x̂_t‖²`, the smallest keys are the
 * draws in order (Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir"). U_t is the Philox number of
 * the token's index. Tokens reconstructed exactly are never drawn, so fewer than `wanted` may come back.
 */
export async function drawDirections(
  engine: Engine,
  options: {
    selection: Selection;
    wanted: number;
    random: Philox;
    batches: readonly number[];
    read: (batch: number) => Promise<Float32Array>;
  },
): Promise<Float32Array[]> {
  const { dIn } = engine.config;
  let drawn: { key: number; direction: Float32Array }[] = [];
  let nSeen = 0;
  for (const batch of options.batches) {
    const x = await options.read(batch);
    const nTokens = x.length / dIn;
    const acts = await engine.encode(x, options.selection);
    await visitReconstructions(engine, acts, (recon, first) => {
      const rows = x.subarray(first * dIn, first * dIn + recon.length);
      const errors = squaredErrors(rows, recon, dIn);
      const worst = drawn.length < options.wanted ? Number.POSITIVE_INFINITY : drawn[drawn.length - 1].key;
      for (let t = 0; t < errors.length; t++) {
        const key = -Math.log(1 - options.random.uniform(nSeen + first + t)) / errors[t];
        if (!(errors[t] > 0) || key >= worst) continue;
        drawn.push({ key, direction: unitError(rows, recon, t, dIn, Math.sqrt(errors[t])) });
      }
      drawn = drawn.sort((a, b) => a.key - b.key).slice(0, options.wanted);
    });
    nSeen += nTokens;
    if (nSeen * DRAWS_A_BATCH >= options.wanted) break;
  }
  return drawn.map(({ direction }) => direction);
}

/** ‖x − x̂‖² of every token, f64. */
function squaredErrors(x: Float32Array, recon: Float32Array, dIn: number): Float64Array {
  const errors = new Float64Array(x.length / dIn);
  for (let t = 0, at = 0; t < errors.length; t++) {
    for (let j = 0; j < dIn; j++, at++) errors[t] += (x[at] - recon[at]) ** 2;
  }
  return errors;
}

function unitError(x: Float32Array, recon: Float32Array, t: number, dIn: number, norm: number): Float32Array {
  const u = new Float32Array(dIn);
  for (let j = 0; j < dIn; j++) u[j] = (x[t * dIn + j] - recon[t * dIn + j]) / norm;
  return u;
}
