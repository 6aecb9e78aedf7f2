/**
 * Feeds damaged files to one reader, in a thread of its own that the parent can stop. An input ends well if it is read, or
 * refused with an error of Lapidary's; it must not take over a second, nor allocate far more than the files are long.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { LapidaryError } from "../../src/errors.ts";
import { Draws, mutateBytes, mutateJson } from "./mutate.ts";
import { emptied, type Seed, TARGETS } from "./targets.ts";

export interface FuzzJob {
  readonly target: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  readonly folder: string;
  /** [0]: the input at work */
  readonly progress: SharedArrayBuffer;
}

export interface FuzzCounts {
  readonly refused: number;
  readonly read: number;
  readonly problems: readonly string[];
}

const LIMIT_MS = 1000;
const MULTIPLE = 16;
const ALLOWANCE = 4 * 2 ** 20;

let largest = 0;
countAllocations();
const job = workerData as FuzzJob;
const target = TARGETS.find(({ name }) => name === job.target)!;
const progress = new Int32Array(job.progress);
const seeds = await target.seeds(await emptied(join(job.folder, "seeds")));
const folder = await emptied(join(job.folder, "input"));
const problems: string[] = [];
const counts = { refused: 0, read: 0 };
for (const [i, seed] of seeds.entries()) {
  await place(seed);
  try {
    await target.read(folder);
  } catch (error) {
    problems.push(`seed ${i} itself: ${(error as Error).stack}`);
  }
}
let placed: Seed | null = null;
for (let i = job.from; i < job.to && problems.length < 20; i++) {
  progress[0] = i;
  await attempt(i);
}
parentPort?.postMessage({ ...counts, problems } satisfies FuzzCounts);

async function attempt(i: number): Promise<void> {
  const draws = new Draws(job.seed, `fuzz/${job.target}/${i}`);
  const seed = draws.of(seeds);
  if (placed !== seed) await place(seed);
  placed = seed;
  const name = draws.of([...seed.keys()]);
  const original = seed.get(name)!;
  const mutant =
    (name.endsWith(".json") && draws.below(3) > 0 ? mutateJson(original, draws) : null) ??
    mutateBytes(original, draws);
  await writeFile(join(folder, name), mutant);
  largest = 0;
  const started = performance.now();
  const which = `input ${i} (${name})`;
  try {
    await target.read(folder);
    counts.read += 1;
  } catch (error) {
    if (error instanceof LapidaryError) counts.refused += 1;
    else problems.push(`${which}: ${(error as Error)?.stack?.slice(0, 600) ?? error}`);
  }
  const took = performance.now() - started;
  if (took > LIMIT_MS) problems.push(`${which}: took ${Math.round(took)} ms`);
  const bytes = [...seed.values()].reduce((sum, file) => sum + file.length, mutant.length);
  if (largest > Math.max(MULTIPLE * bytes, target.allowance ?? ALLOWANCE))
    problems.push(`${which}: allocated ${largest} bytes at once for files of ${bytes}`);
  await writeFile(join(folder, name), original);
}

async function place(seed: Seed): Promise<void> {
  await emptied(folder);
  for (const [name, bytes] of seed) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}

/** Notes the largest array that anything in this thread makes. */
function countAllocations(): void {
  const scope = globalThis as unknown as Record<
    string,
    { new (...args: never[]): object; BYTES_PER_ELEMENT?: number }
  >;
  const names = [
    "Uint8Array",
    "Uint16Array",
    "Uint32Array",
    "Int32Array",
    "Float32Array",
    "Float64Array",
    "BigInt64Array",
    "ArrayBuffer",
  ];
  for (const name of names) {
    const original = scope[name];
    const width = original.BYTES_PER_ELEMENT ?? 1;
    scope[name] = new Proxy(original, {
      construct(make, args: never[], newTarget) {
        if (typeof args[0] === "number") largest = Math.max(largest, args[0] * width);
        return Reflect.construct(make, args, newTarget);
      },
    });
  }
}
