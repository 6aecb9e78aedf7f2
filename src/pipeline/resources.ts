/** Invariant 8: before work starts, the memory and disk its stages need are held against what the machine has. */
import { readdir, readFile, stat, statfs } from "node:fs/promises";
import { freemem } from "node:os";
import { join } from "node:path";
import { LapidaryError, ResourceError } from "../errors.ts";
import type { MemoryPart, MemoryPlan } from "../kernels/memory.ts";
import type { RunContext } from "./context.ts";
import { planRecipe } from "./plan.ts";
import { knownSizes } from "./sizes.ts";
import type { Unit } from "./stages/unit.ts";

/** @throws {ResourceError} a stage that is still to be run needs more than there is, with what to change */
export async function checkResources(context: RunContext, units: readonly Unit[]): Promise<void> {
  const open = new Set(
    units.filter((unit) => context.state.units[unit.id]?.state !== "done").map(({ stage }) => stage),
  );
  if (open.size === 0) return;
  const sizes = await knownSizes(context, { download: false });
  const plans = planRecipe(context.recipe, sizes, context.options).filter(({ stage }) =>
    open.has(stage as Unit["stage"]),
  );
  const memory = await freeMemory();
  for (const { stage, memoryBytes, memoryParts } of plans)
    if (memoryBytes !== null) refuseMemory(`stage ${stage}`, memoryBytes, memoryParts ?? [], memory);
  const disk = await freeDisk(context.dir.root);
  const folders = new Set(plans.flatMap(({ stage }) => foldersOf(context, stage)));
  const present = (await Promise.all([...folders].map(bytesUnder))).reduce((sum, bytes) => sum + bytes, 0);
  const needed = plans.reduce((sum, { diskBytes }) => sum + (diskBytes ?? 0), 0) - present;
  if (needed > disk) {
    throw new ResourceError(
      `the run needs about ${gigabytes(needed)} more disk, ${gigabytes(disk)} is free in ${context.dir.root}`,
      "use --runs to choose another disk, fewer corpus.tokens, or fewer layers",
    );
  }
}

/**
 * Tells what a unit that trains is going to take, and refuses where there is less.
 * @throws {ResourceError} naming the parts
 */
export async function announceMemory(
  context: RunContext,
  unit: { readonly id: string; readonly title: string },
  { parts, total }: MemoryPlan,
): Promise<void> {
  const free = await freeMemory();
  context.emit({ kind: "memory", unit: unit.id, parts, total, free });
  refuseMemory(`"${unit.title}"`, total, parts, free);
}

function refuseMemory(what: string, bytes: number, parts: readonly MemoryPart[], free: number): void {
  if (bytes <= free) return;
  const largest = [...parts].sort((a, b) => b.bytes - a.bytes).slice(0, 4);
  const named = largest.map((part) => `${part.name} ${gigabytes(part.bytes)}`);
  if (largest.length < parts.length) named.push("…");
  throw new ResourceError(
    `${what} needs about ${gigabytes(bytes)} of memory${named.length === 0 ? "" : ` (${named.join(", ")})`}, ${gigabytes(free)} is free`,
    "lower train.batchTokens, use a smaller SAE, or stop other programs",
  );
}

/** What V8 and the engines say of memory that they cannot have. */
const OUT_OF_MEMORY =
  /^(Array buffer allocation failed|Invalid (typed )?array (buffer )?length.*|out of memory|std::bad_alloc)$/;

/** Memory that could not be had, as a ResourceError that says for what; anything else as it is. */
export function memoryError(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || error instanceof LapidaryError || !OUT_OF_MEMORY.test(error.message))
    return error;
  return new ResourceError(
    `memory ran out in "${what}": ${error.message}; the process holds ${gigabytes(process.memoryUsage.rss())}`,
    "raise its limit, lower train.batchTokens or stop other programs; the same command goes on from what is done",
    error,
  );
}

/** Bytes this process can hold: what is available, and what it has. */
export async function freeMemory(): Promise<number> {
  return (await availableMemory()) + process.memoryUsage.rss();
}

/** Bytes that can be allocated without swapping: the kernel's own estimate on Linux, free memory elsewhere. */
export async function availableMemory(): Promise<number> {
  const text = await readFile("/proc/meminfo", "utf8").catch(() => "");
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(text);
  return match === null ? freemem() : Number(match[1]) * 1024;
}

export async function freeDisk(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Where a stage writes what its plan counts. */
function foldersOf({ dir, recipe }: RunContext, stage: string): string[] {
  switch (stage) {
    case "corpus":
      return [join(dir.root, "corpus")];
    case "harvest":
      return [join(dir.root, "activations")];
    case "train":
    case "polish":
      return recipe.layers.map((layer) => dir.train(layer, stage === "polish"));
    case "export":
      return [dir.repository];
    default:
      return [];
  }
}

/** Bytes that an interrupted stage has already written; what finished stages left takes nothing off what is still needed. */
async function bytesUnder(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => (await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
