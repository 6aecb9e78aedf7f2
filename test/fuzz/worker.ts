/**
 * Feeds damaged files to one reader after another, in a thread of its own that the parent can stop. An input ends well if it is read, or
 * refused with an error of Lapidary's; it must not take over a second, nor allocate far more than the files are long.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { LapidaryError } from "../../src/errors.ts";
import { Draws, mutateBytes, mutateJson } from "./mutate.ts";
import { emptied, type Seed, TARGETS, type Target } from "./targets.ts";

export interface FuzzThreadData {
  readonly folder: string;
  /** [0]: the input at work; −1 before the first */
  readonly progress: SharedArrayBuffer;
}

/** Inputs [from, to) of a target. */
export interface FuzzJob {
  readonly target: string;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
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
const { folder: place, progress } = workerData as FuzzThreadData;
const at = new Int32Array(progress);
parentPort?.on("message", async (job: FuzzJob) => parentPort?.postMessage(await fuzzed(job)));

async function fuzzed(job: FuzzJob): Promise<FuzzCounts> {
  const target = TARGETS.find(({ name }) => name === job.target)!;
  const seeds = await target.seeds(await emptied(join(place, "seeds")));
  const folder = await emptied(join(place, "input"));
  const problems: string[] = [];
  const counts = { refused: 0, read: 0 };
  for (const [i, seed] of seeds.entries()) {
    await fill(folder, seed);
    try {
      await target.read(folder);
    } catch (error) {
      problems.push(`seed ${i} itself: ${(error as Error).stack}`);
    }
  }
  let placed: Seed | null = null;
  for (let i = job.from; i < job.to && problems.length < 20; i++) {
    at[0] = i;
    const draws = new Draws(job.seed, `fuzz/${job.target}/${i}`);
    const seed = draws.of(seeds);
    if (placed !== seed) await fill(folder, seed);
    placed = seed;
    const { outcome, found } = await attempt(target, folder, seed, draws);
    if (outcome !== null) counts[outcome] += 1;
    problems.push(...found.map((problem) => `input ${i} ${problem}`));
  }
  return { ...counts, problems };
}

/** One damaged file among a seed's own: how its reading ended, if well, and what was wrong with it. */
async function attempt(target: Target, folder: string, seed: Seed, draws: Draws): Promise<Attempt> {
  const name = draws.of([...seed.keys()]);
  const original = seed.get(name)!;
  const mutant =
    (name.endsWith(".json") && draws.below(3) > 0 ? mutateJson(original, draws) : null) ??
    mutateBytes(original, draws);
  await writeFile(join(folder, name), mutant);
  largest = 0;
  let outcome: Attempt["outcome"] = null;
  const found: string[] = [];
  const [started, used] = [performance.now(), process.cpuUsage()];
  try {
    await target.read(folder);
    outcome = "read";
  } catch (error) {
    if (error instanceof LapidaryError) outcome = "refused";
    else found.push(`(${name}): ${(error as Error)?.stack?.slice(0, 600) ?? error}`);
  }
  // a busy machine makes every input take long, and other threads work meanwhile: too long is what is so by both clocks
  const { user, system } = process.cpuUsage(used);
  const took = Math.min(performance.now() - started, (user + system) / 1000);
  if (took > LIMIT_MS) found.push(`(${name}): took ${Math.round(took)} ms`);
  const bytes = [...seed.values()].reduce((sum, file) => sum + file.length, mutant.length);
  if (largest > Math.max(MULTIPLE * bytes, target.allowance ?? ALLOWANCE))
    found.push(`(${name}): allocated ${largest} bytes at once for files of ${bytes}`);
  await writeFile(join(folder, name), original);
  return { outcome, found };
}

interface Attempt {
  readonly outcome: "read" | "refused" | null;
  readonly found: readonly string[];
}

async function fill(folder: string, seed: Seed): Promise<void> {
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
