/** Windows through the lower half of a model into memory: for texts small enough to be looked at at once. */
import type { ActivationRows } from "../activations/activations.ts";
import type { WindowBatch } from "../corpus/windows.ts";
import type { ResidualModel } from "../models/residual-model.ts";
import { Block } from "./block.ts";
import { AHEAD } from "./harvest.ts";
import { ahead } from "./overlap.ts";
import { planBatches } from "./plan.ts";

/** Rows of the kept positions of some windows, one set a layer, computed `batchWindows` windows at a time. */
export async function harvestWindows(
  model: ResidualModel,
  windows: WindowBatch,
  batchWindows: number,
  onBatch: (windowsDone: number) => void = () => {},
): Promise<ActivationRows[]> {
  const { dIn } = model.info;
  const block = new Block(windows);
  const layers = model.layers.map(() => new Float32Array(block.labels.nRows * dIn));
  const sinks = layers.map((layer) => ({
    set(row: number, n: number, source: Float32Array, at: number) {
      layer.set(source.subarray(at, at + n * dIn), row * dIn);
    },
  }));
  const groups = planBatches(windows.lengths, windows.contextSize, { batchWindows });
  const batches = groups.map((members) => block.batch(members));
  let done = 0;
  onBatch(done);
  const results = ahead(batches, AHEAD, ({ tokens }) => model.run(tokens));
  for await (const { item, result } of results) {
    await block.place(item, result, sinks, dIn);
    done += item.members.length;
    onBatch(done);
  }
  return layers.map((activations) => ({ ...block.labels, activations }));
}
