/**
 * Windows through the lower half of a model, activations of the kept tokens into stores, all wanted layers in one pass.
 * Batches and shards are functions of the windows alone, so a harvest stopped at any byte goes on with the first block of
 * windows that is not yet a whole shard, and ends with the same bytes. While the model works on a batch, the one before
 * is put in its place, the last shard is written, and the next batches are made ready.
 */
import type { StoreIdentity } from "../activations/activations.ts";
import { PackedRows } from "../activations/packed-rows.ts";
import type { ActivationWriter } from "../activations/writer.ts";
import type { WindowSet } from "../corpus/windows.ts";
import type { ResidualModel } from "../models/residual-model.ts";
import { Block, type BlockBatch } from "./block.ts";
import { ahead, Background } from "./overlap.ts";
import { type HarvestPlan, planBatches } from "./plan.ts";

/** Batches that the model has while one is put in its place: one to work on, and one to go on with at once. */
export const AHEAD = 2;

/** How far a harvest is, in windows and in tokens (padding included). */
export interface HarvestProgress {
  readonly windows: number;
  readonly totalWindows: number;
  readonly tokens: number;
}

/** What a harvest runs, and where the activations go. */
export interface HarvestOptions {
  readonly model: ResidualModel;
  readonly windows: WindowSet;
  /** one open writer a layer, in the order of `model.layers` */
  readonly writers: readonly ActivationWriter[];
  readonly plan: HarvestPlan;
  /** batches that the model is given ahead of time, default 2; decides speed and memory, never content */
  readonly ahead?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: HarvestProgress) => void;
}

/** Where the time of a harvest went, in seconds. What goes on at the same time counts in each of its places. */
export interface HarvestTimes {
  readonly wall: number;
  /** in ONNX Runtime */
  readonly model: number;
  /** reading windows */
  readonly reading: number;
  /** putting kept rows in their places, in the stores' element type */
  readonly placing: number;
  /** hashing shards, writing them, waiting for the disk */
  readonly writing: number;
}

/**
 * Runs every window and finishes the stores. Kept rows only: `keep` of the window set decides. Memory: two shards of all
 * layers in the stores' element type, and the residuals of `ahead` + 1 batches in f32.
 * @throws {DataError} too many activations are not finite   @throws the signal's reason when aborted
 */
export async function harvest(options: HarvestOptions): Promise<HarvestTimes> {
  const { model, windows, writers, plan, signal, onProgress } = options;
  const { nWindows, contextSize } = windows.manifest;
  const { dIn } = model.info;
  const clock = new Clock(model);
  const firstShard = Math.min(...writers.map((writer) => writer.nextShard));
  let done = Math.min(nWindows, firstShard * plan.windowsPerShard);
  const report = () => onProgress?.({ windows: done, totalWindows: nWindows, tokens: done * contextSize });
  const writing = new Background();
  let shard: Shard | null = null;
  report();
  try {
    const batches = windowBatches(windows, plan, firstShard, clock);
    const results = ahead(batches, options.ahead ?? AHEAD, ({ batch }) => model.run(batch.tokens));
    for await (const { item, result } of results) {
      signal?.throwIfAborted();
      writing.check();
      const { block, batch } = item;
      shard ??= newShard(item, dIn, writers);
      const { rows } = shard;
      await clock.time("placing", () => block.place(batch, result, rows, dIn));
      done += batch.members.length;
      report();
      if (!item.isLast) continue;
      const whole = shard;
      shard = null;
      await writing.start(() => clock.time("writing", () => writeShard(writers, whole)));
    }
    await writing.done();
  } finally {
    await writing.settled(); // whoever gets the error may touch the folders
  }
  for (const writer of writers) await writer.finish();
  return clock.times();
}

/** A batch, and the block of windows it is of. */
interface WindowsOfShard {
  readonly index: number;
  readonly block: Block;
  readonly batch: BlockBatch;
  /** the block's last batch */
  readonly isLast: boolean;
}

/** All batches from shard `firstShard` on; a block of windows is read when its first batch is asked for. */
async function* windowBatches(
  windows: WindowSet,
  plan: HarvestPlan,
  firstShard: number,
  clock: Clock,
): AsyncGenerator<WindowsOfShard> {
  const { nWindows, contextSize } = windows.manifest;
  for (let index = firstShard; index * plan.windowsPerShard < nWindows; index++) {
    const from = index * plan.windowsPerShard;
    const to = Math.min(from + plan.windowsPerShard, nWindows);
    const block = new Block(await clock.time("reading", () => windows.read(from, to)));
    const groups = planBatches(block.windows.lengths, contextSize, plan);
    for (const [i, members] of groups.entries())
      yield { index, block, batch: block.batch(members), isLast: i === groups.length - 1 };
  }
}

/** A shard of all layers while it fills. */
interface Shard {
  readonly index: number;
  readonly firstWindow: number;
  readonly nWindows: number;
  /** one a layer */
  readonly rows: readonly PackedRows[];
}

function newShard(
  { index, block }: WindowsOfShard,
  dIn: number,
  writers: readonly { readonly manifest: StoreIdentity }[],
): Shard {
  return {
    index,
    firstWindow: block.windows.first,
    nWindows: block.windows.nWindows,
    rows: writers.map(({ manifest }) => new PackedRows(block.labels, dIn, manifest.dtype)),
  };
}

/** Layers whose store has the shard already, from before an interruption, are left as they are. */
async function writeShard(writers: readonly ActivationWriter[], shard: Shard): Promise<void> {
  const { index, rows, firstWindow, nWindows } = shard;
  for (const [layer, writer] of writers.entries())
    if (writer.nextShard === index) await writer.writeShard(index, rows[layer], { firstWindow, nWindows });
}

class Clock {
  readonly #model: ResidualModel;
  readonly #start = performance.now();
  readonly #modelBefore: number;
  readonly #seconds = { reading: 0, placing: 0, writing: 0 };

  constructor(model: ResidualModel) {
    this.#model = model;
    this.#modelBefore = model.runSeconds;
  }

  async time<T>(phase: "reading" | "placing" | "writing", work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.#seconds[phase] += (performance.now() - start) / 1000;
    return result;
  }

  times(): HarvestTimes {
    return {
      wall: (performance.now() - this.#start) / 1000,
      model: this.#model.runSeconds - this.#modelBefore,
      ...this.#seconds,
    };
  }
}
