/** What an engine bench works on: an engine that holds a planted SAE, and several batches to take in turn. */
import type { Engine, EngineConfig, EngineFactory, EngineTensor } from "../kernels/kernels.ts";
import { selectEngine } from "../kernels/select.ts";
import type { BenchOptions } from "./bench.ts";
import { PlantedSae } from "./planted.ts";
import { sayNumber, saySize } from "./words.ts";

export interface Workload {
  readonly engine: Engine;
  readonly planted: PlantedSae;
  readonly batchTokens: number;
  /** The batch of turn `i`, [batchTokens, dIn]: there are several, taken in rotation. */
  batch(i: number): Float32Array;
  dispose(): Promise<void>;
}

/** Several, so that what a step learns about one batch does not help it with the next. */
export const N_BATCHES = 3;
/** Weights are made and handed over in pieces of about this many values: no second copy of them stays in memory. */
const CHUNK_VALUES = 1 << 21;

/**
 * The engine of `options.engine` with a planted SAE in it, and batches.
 * @throws {EngineError} there is no such engine, or too little memory
 */
export async function openWorkload(
  options: Omit<BenchOptions, "seconds" | "selection">,
  { batchTokens, ...kind }: WorkloadKind & { readonly batchTokens: number },
): Promise<Workload> {
  const { size, threads, screening } = options;
  const { create, description } = await selectEngine(options.engine);
  options.note(`${description}: ${saySize(size)}, batches of ${sayNumber(batchTokens)} tokens are made`);
  const planted = new PlantedSae(size, { deadPercent: options.dead });
  const engine = await openEngine(create, planted, { ...kind, threads, screening });
  const batches: Float32Array[] = [];
  for (let i = 0; i < N_BATCHES; i++) batches.push(await plantedBatch(engine, planted, i, batchTokens));
  return {
    engine,
    planted,
    batchTokens,
    batch: (i) => batches[i % N_BATCHES],
    dispose: () => engine.dispose(),
  };
}

/** What an engine is for. `rescale`: activations are in units of the decoder's norms, as in training by size. */
export type WorkloadKind = Pick<EngineConfig, "training" | "architecture"> & { readonly rescale: boolean };

/** An engine that holds the planted SAE; what an architecture learns beside it is 0. */
export async function openEngine(
  create: EngineFactory,
  planted: PlantedSae,
  { rescale, ...rest }: WorkloadKind & Pick<EngineConfig, "threads" | "screening">,
): Promise<Engine> {
  const { dIn, dSae } = planted.size;
  const widths = rest.architecture === undefined ? planted.size.widths : [dSae];
  const engine = await create(
    {
      dIn,
      dSae,
      widths,
      applyBDecToInput: true,
      rescaleActsByDecoderNorm: rescale,
      ...rest,
    },
    null,
  );
  await plant(engine, planted);
  return engine;
}

/** Writes the planted SAE into an engine of its size, piece by piece. */
async function plant(engine: Engine, planted: PlantedSae): Promise<void> {
  const { dIn, dSae } = planted.size;
  const nRows = Math.min(dSae, Math.max(1, Math.floor(CHUNK_VALUES / dIn)));
  const [wEnc, wDec] = [new Float32Array(nRows * dIn), new Float32Array(nRows * dIn)];
  for (let from = 0; from < dSae; from += nRows) {
    const values = Math.min(nRows, dSae - from) * dIn;
    const [encoder, decoder] = [wEnc.subarray(0, values), wDec.subarray(0, values)];
    planted.fillRows(from, encoder, decoder);
    await engine.write("wEnc", from, encoder);
    await engine.write("wDec", from, decoder);
  }
  await engine.write("bEnc", 0, planted.bEnc());
  await engine.write("bDec", 0, planted.bDec());
}

/** Activations [nTokens, dIn] of the planted SAE that `engine` holds. */
export async function plantedBatch(
  engine: Engine,
  planted: PlantedSae,
  index: number,
  nTokens: number,
): Promise<Float32Array> {
  const x = await engine.decode(planted.codes(index, nTokens));
  planted.addNoise(index, x);
  return x;
}

/** Rows of a tensor, piece by piece. */
export async function* readPieces(engine: Engine, tensor: EngineTensor): AsyncGenerator<Float32Array> {
  const { dIn, dSae } = engine.config;
  const isMatrix = tensor.endsWith("wEnc") || tensor.endsWith("wDec");
  const rows = tensor.endsWith("bDec") ? dIn : dSae;
  const step = isMatrix ? Math.max(1, Math.floor(CHUNK_VALUES / dIn)) : rows;
  for (let from = 0; from < rows; from += step)
    yield await engine.read(tensor, from, Math.min(rows, from + step));
}
