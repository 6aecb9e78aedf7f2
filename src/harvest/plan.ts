/**
 * How a harvest cuts its work: windows into blocks, one a shard; a block into batches. Pure functions of sizes and of the
 * windows' lengths: never of time, nor of what is done already.
 */

/** How a harvest cuts its work; part of a store's identity, since a batch may influence last bits. */
export interface HarvestPlan {
  /** windows of full length run together; 1 when the graph quantises activations by batch */
  readonly batchWindows: number;
  /** windows whose kept rows make one shard of each store; a multiple of batchWindows */
  readonly windowsPerShard: number;
  /** windows of like length run together, as many as fit; absent: `batchWindows` neighbours, whatever their lengths */
  readonly batching?: "by length";
}

/** A shard's rows stay below this many bytes of f32, so that memory is bounded whatever the model's width. */
const SHARD_BYTES = 128 * 1024 * 1024;
/** Tokens a batch aims at: enough to keep two to sixteen cores busy, small enough for the attention of long contexts. */
const BATCH_TOKENS = 2048;
/** What a batch costs beside its tokens, in tokens. */
const BATCH_COST = 128;

/**
 * Windows a batch and a shard, from the sizes alone: about 2048 tokens a batch, 128 MiB of f32 a shard of all layers.
 * Windows of mixed lengths are batched by length, unless they must be run one by one.
 */
export function planHarvest(options: {
  contextSize: number;
  dIn: number;
  nLayers: number;
  oneByOne: boolean;
  mixedLengths?: boolean;
}): HarvestPlan {
  const { contextSize, dIn, nLayers, oneByOne, mixedLengths = false } = options;
  const batchWindows = oneByOne ? 1 : Math.max(1, Math.floor(BATCH_TOKENS / contextSize));
  const rowsPerShard = SHARD_BYTES / (4 * dIn * nLayers);
  const batches = Math.max(1, Math.floor(rowsPerShard / (batchWindows * contextSize)));
  const plan = { batchWindows, windowsPerShard: batches * batchWindows };
  return mixedLengths && !oneByOne ? { ...plan, batching: "by length" } : plan;
}

/**
 * Which windows of a block run together: indices into `lengths`, batch after batch. By length, the longest come first
 * (equal ones in their order), and the cuts are those with the least work: tokens, padding included, and a fixed cost a
 * batch. No batch is larger than `batchWindows` windows of full length.
 */
export function planBatches(
  lengths: Uint32Array,
  contextSize: number,
  { batchWindows, batching }: Pick<HarvestPlan, "batchWindows" | "batching">,
): number[][] {
  const order = Array.from(lengths, (_, window) => window);
  if (batching === undefined) return cut(order, (from) => from + batchWindows);
  order.sort((a, b) => lengths[b] - lengths[a] || a - b);
  const ends = cheapestEnds(
    order.map((window) => sequenceLength([lengths[window]])),
    batchWindows * contextSize,
  );
  return cut(order, (from) => ends[from]);
}

function cut(order: readonly number[], endOf: (from: number) => number): number[][] {
  const batches: number[][] = [];
  for (let from = 0; from < order.length; from = endOf(from)) batches.push(order.slice(from, endOf(from)));
  return batches;
}

/**
 * Where a batch that begins at each place should end, for lengths that descend: `cost(from) = min over to of
 * (to − from) · lengths[from] + BATCH_COST + cost(to)`, with (to − from) · lengths[from] at most `room`. Of equals the longest.
 */
function cheapestEnds(lengths: readonly number[], room: number): Uint32Array {
  const cost = new Float64Array(lengths.length + 1).fill(Number.POSITIVE_INFINITY);
  const ends = new Uint32Array(lengths.length);
  cost[lengths.length] = 0;
  for (let from = lengths.length - 1; from >= 0; from--) {
    const most = Math.max(1, Math.floor(room / lengths[from]));
    for (let to = from + 1; to <= Math.min(from + most, lengths.length); to++) {
      const whole = (to - from) * lengths[from] + BATCH_COST + cost[to];
      if (whole > cost[from]) continue;
      cost[from] = whole;
      ends[from] = to;
    }
  }
  return ends;
}

/** Tokens to which windows of these lengths are padded: exporters bake in that there are at least two. */
export function sequenceLength(lengths: readonly number[]): number {
  return Math.max(2, ...lengths);
}
