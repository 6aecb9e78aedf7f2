/** What takes the place of the residual stream at kept positions: reconstructions, zeros, the mean activation. */
import { UnsupportedError } from "../../errors.ts";
import type { Intervention, SplicedBatch, SplicedModel } from "../../models/spliced-model.ts";
import type { Reconstructor } from "../token-source.ts";
import type { SpliceRun } from "./metrics.ts";
import type { SpliceBatch } from "./windows.ts";

/** Rows an SAE is given at a time. */
const SAE_ROWS = 2048;

/** What there is to put in, by layer. */
export interface Replacements {
  readonly saes: ReadonlyMap<number, Reconstructor>;
  /** [dIn] each */
  readonly means: ReadonlyMap<number, Float32Array>;
}

/** Runs a batch with the stream after `layers` replaced at its kept positions, or at all of them. */
export function intervene(
  run: SplicedBatch,
  { kept: { rows } }: SpliceBatch,
  layers: readonly number[],
  kind: SpliceRun,
  { saes, means }: Replacements,
): Promise<Intervention> {
  return run.intervene(layers, async (layer, stream) => {
    if (kind === "zeroEverywhere") return stream.fill(0);
    const sae = saeOf(saes, layer);
    const { dIn } = sae.sae.config;
    if (kind === "spliced") return reconstructed(sae, stream, rows, dIn);
    const same = kind === "mean" ? means.get(layer) : new Float32Array(dIn);
    if (same === undefined) throw new UnsupportedError(`no mean activation of layer ${layer}`);
    for (const row of rows) stream.set(same, row * dIn);
    return stream;
  });
}

/** `stream` with some of its rows reconstructed, in place. */
async function reconstructed(
  sae: Reconstructor,
  stream: Float32Array,
  rows: Uint32Array,
  dIn: number,
): Promise<Float32Array> {
  for (let from = 0; from < rows.length; from += SAE_ROWS) {
    const some = rows.subarray(from, from + SAE_ROWS);
    const x = new Float32Array(some.length * dIn);
    some.forEach((row, i) => {
      x.set(stream.subarray(row * dIn, (row + 1) * dIn), i * dIn);
    });
    const { recon } = await sae.reconstruct(x);
    some.forEach((row, i) => {
      stream.set(recon.subarray(i * dIn, (i + 1) * dIn), row * dIn);
    });
  }
  return stream;
}

/** Mean of the kept positions' activations by layer, summed in double precision. */
export async function meanActivations(
  model: SplicedModel,
  batches: Iterable<SpliceBatch>,
  signal: AbortSignal | undefined,
  onDone: (tokens: number) => void,
): Promise<Map<number, Float32Array>> {
  const { dIn } = model.info;
  const sums = model.layers.map(() => new Float64Array(dIn));
  let n = 0;
  for (const { tokens, kept } of batches) {
    signal?.throwIfAborted();
    const streams = await model.streams(tokens);
    streams.forEach((stream, i) => {
      for (const row of kept.rows) for (let j = 0; j < dIn; j++) sums[i][j] += stream[row * dIn + j];
    });
    n += kept.rows.length;
    onDone(n);
  }
  return new Map(model.layers.map((layer, i) => [layer, Float32Array.from(sums[i], (sum) => sum / n)]));
}

/** @throws {UnsupportedError} there is none */
export function saeOf(saes: ReadonlyMap<number, Reconstructor>, layer: number): Reconstructor {
  const sae = saes.get(layer);
  if (sae === undefined) throw new UnsupportedError(`no SAE for layer ${layer}`);
  return sae;
}
