/** `lapidary bench decode`: sparse latents → reconstructions, some k latents a token. */
import type { SparseActs } from "../kernels/kernels.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { checkCoding } from "./check.ts";
import { round } from "./measure.ts";
import { sit } from "./sitting.ts";
import { sayNumber } from "./words.ts";
import { N_BATCHES } from "./workload.ts";

export async function benchDecode(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 1024 } = options;
  let nEntries = 0;
  const { timing, peaks, figures, head, tail, variant } = await sit(options, {
    bench: "decode",
    batchTokens,
    training: false,
    rescale: false,
    checkSlice: () => checkCoding(options, false, async (_engine, _x, k) => ({ kind: "topk", k })),
    async prepare({ engine, planted }) {
      const codes: SparseActs[] = [];
      for (let i = 0; i < N_BATCHES; i++) codes.push(planted.codes(i, batchTokens));
      nEntries = codes.reduce((sum, { values }) => sum + values.length, 0) / N_BATCHES;
      return { turn: (i) => engine.decode(codes[i % N_BATCHES]) };
    },
  });
  const { medianSeconds } = timing;
  const gflops = (2 * nEntries * size.dIn) / medianSeconds / 1e9;
  const gathered = (4 * nEntries * size.dIn) / medianSeconds / 1e9;
  return {
    figures: {
      ...figures,
      entriesPerToken: round(nEntries / batchTokens),
      sparse: { gflops: round(gflops), gatheredGbPerSecond: round(gathered) },
    },
    lines: [
      ...head,
      `  sparse    ${sayNumber(gflops)} GFLOP/s; decoder rows read at ${sayNumber(gathered)} GB/s` +
        (peaks === null ? "" : `, memory alone gives ${sayNumber(peaks.memory)}`),
      ...tail,
    ],
    variant,
  };
}
