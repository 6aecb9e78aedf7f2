/**
 * Lapidary's side of the peer comparison, in a process of its own, so that its peak memory is its own. Started by compare.ts
 * with a JSON `OurOptions`. Requests: {"write": path} writes weights and batches for the other side, {"count": n} does n turns,
 * {"peaks": true} measures what the machine can do.
 */
import { createInterface } from "node:readline";
import { chooseSelection } from "../../src/bench/encode.ts";
import { peakMemoryBytes } from "../../src/bench/measure.ts";
import { peaksIfKnown } from "../../src/bench/peaks.ts";
import { chooseSize, type SizeName } from "../../src/bench/sizes.ts";
import { trainStepOptions } from "../../src/bench/train.ts";
import { N_BATCHES, openWorkload, readPieces } from "../../src/bench/workload.ts";
import { type TensorToWrite, writeSafetensors } from "../../src/formats/safetensors.ts";
import type { Selection } from "../../src/kernels/kernels.ts";
import type { Turns } from "./side.ts";

export interface OurOptions {
  readonly bench: "train" | "encode";
  readonly size: SizeName;
  readonly batchTokens: number;
  readonly threads: number;
  readonly dead: number;
}

const options = JSON.parse(process.argv[2]) as OurOptions;
const { bench, batchTokens, threads, dead } = options;
const size = chooseSize(options.size);
const isTraining = bench === "train";
const workload = await openWorkload(
  { size, threads, dead, engine: "auto", note: () => {} },
  { batchTokens, training: isTraining, rescale: isTraining },
);
const { engine, planted, batch } = workload;
const selection = isTraining ? null : await chooseSelection(engine, batch(0), "threshold", size.k);
let done = 0;

say({ ready: true, name: engine.name, description: engine.description, numericClass: engine.numericClass });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as { count?: number; write?: string; peaks?: boolean };
  if (request.write !== undefined) say(await writeData(request.write));
  else if (request.peaks) say({ peaks: await peaksIfKnown(threads, 5) });
  else say(await turns(request.count ?? 1));
}
await workload.dispose();

async function turns(count: number): Promise<Turns> {
  const seconds: number[] = [];
  let last = { loss: null as number | null, l0: 0 };
  for (let i = 0; i < count; i++, done++) {
    const start = performance.now();
    const result = selection === null ? await trainTurn() : await encodeTurn(selection);
    seconds.push((performance.now() - start) / 1000);
    last = result;
  }
  return { seconds, ...last, peakMemoryBytes: peakMemoryBytes() };
}

async function trainTurn() {
  const { loss, l0 } = await engine.trainStep(batch(done), trainStepOptions(done, planted));
  return { loss, l0 };
}

async function encodeTurn(selection: Selection) {
  const { values } = await engine.encode(batch(done), selection);
  return { loss: null, l0: values.length / batchTokens };
}

/** Weights as the engine holds them, batches, and a `spec` of what to do with them. */
async function writeData(path: string): Promise<object> {
  const { dIn, dSae, k, widths } = size;
  const matrix = (name: "wEnc" | "wDec"): TensorToWrite => ({
    name,
    dtype: "F32",
    shape: [dSae, dIn],
    data: () => readPieces(engine, name),
  });
  const vector = (name: "bEnc" | "bDec", length: number): TensorToWrite => ({
    name,
    dtype: "F32",
    shape: [length],
    data: () => readPieces(engine, name),
  });
  const tensors: TensorToWrite[] = [
    matrix("wEnc"),
    matrix("wDec"),
    vector("bEnc", dSae),
    vector("bDec", dIn),
  ];
  tensors.push({ name: "dead", dtype: "U8", shape: [dSae], data: planted.dead });
  if (selection?.kind === "threshold")
    tensors.push({ name: "thresholds", dtype: "F32", shape: [dSae], data: selection.thresholds });
  for (let i = 0; i < N_BATCHES; i++)
    tensors.push({ name: `batch.${i}`, dtype: "F32", shape: [batchTokens, dIn], data: batch(i) });
  const { learningRate, beta1, beta2 } = trainStepOptions(0, planted);
  const spec = {
    bench,
    dIn,
    dSae,
    k,
    widths,
    batchTokens,
    nBatches: N_BATCHES,
    threads,
    learningRate,
    beta1,
    beta2,
    auxCoefficient: 1,
  };
  const { bytes } = await writeSafetensors(path, tensors, { spec: JSON.stringify(spec) });
  return { bytes };
}

function say(answer: object): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
