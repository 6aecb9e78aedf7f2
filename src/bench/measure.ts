/** Timing: what is repeated, for how long, and how it is summed up. Medians and bests, because machines are shared. */
import { readFileSync } from "node:fs";

/** Turns timed however long they take. */
const LEAST_TURNS = 3;

export interface Timing {
  /** Seconds of each timed turn, in order. */
  readonly turns: readonly number[];
  readonly medianSeconds: number;
  readonly bestSeconds: number;
}

/**
 * Runs `turn(i)` for i = 0, 1, 2 …: first `warmUp` times untimed, then timed until `seconds` have passed, three times at least.
 * `after` runs behind each timed turn, untimed.
 */
export async function timeTurns(
  turn: (i: number) => Promise<unknown>,
  { warmUp, seconds, after }: { warmUp: number; seconds: number; after?: () => Promise<void> },
): Promise<Timing> {
  for (let i = 0; i < warmUp; i++) await turn(i);
  const turns: number[] = [];
  for (let i = warmUp, total = 0; turns.length < LEAST_TURNS || total < seconds; i++) {
    const start = performance.now();
    await turn(i);
    turns.push((performance.now() - start) / 1000);
    total += turns[turns.length - 1];
    await after?.();
  }
  return timingOf(turns);
}

export function timingOf(turns: readonly number[]): Timing {
  return { turns, medianSeconds: median(turns), bestSeconds: Math.min(...turns) };
}

/** Of an even number, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What is stored: four significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

/**
 * The most memory this process has had resident, in bytes. On Linux from /proc: the other source counts what the parent process
 * held when it started this one.
 */
export function peakMemoryBytes(): number {
  if (process.platform === "linux") {
    const kilobytes = readFileSync("/proc/self/status", "latin1").match(/^VmHWM:\s*(\d+) kB/m)?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}
