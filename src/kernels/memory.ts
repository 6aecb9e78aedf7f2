/**
 * The native engine's memory, before it is taken: every array of native/src that is large at any size, with its length.
 * An upper estimate that lies close; `test/parity/memory.test.ts` holds it against what a process really grows by.
 * The reference engine, which nobody runs at such sizes, takes more (gradients whole, signals in f64).
 */
import { availableParallelism } from "node:os";
import { denseStepBytes } from "./dense-memory.ts";
import type { EngineConfig } from "./kernels.ts";

/** One thing that takes memory. */
export interface MemoryPart {
  /** for people: "weights", "moments" … */
  readonly name: string;
  readonly bytes: number;
}

export interface MemoryPlan {
  readonly parts: readonly MemoryPart[];
  /** their sum */
  readonly total: number;
}

/** What the engine will be asked to do. */
export interface EngineWork {
  readonly batchTokens: number;
  /** mean number of activations a token that is encoded; default 100 */
  readonly k?: number;
  /** dead latents that AuxK works on at most; default none */
  readonly nDead?: number;
}

/** The sum of parts; those of no bytes are left out. */
export function planOf(parts: readonly MemoryPart[]): MemoryPlan {
  const present = parts.filter(({ bytes }) => bytes > 0);
  return { parts: present, total: present.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** What a native engine of `config` takes, its inputs and results not counted. Bytes; those of a training engine with `config.training`. */
export function memoryPlan(config: EngineConfig, work: EngineWork): MemoryPlan {
  const sizes = sizesOf(config, work);
  const { F, d, B } = sizes;
  const parameters = 2 * floats(F * d) + floats(F) + floats(d);
  const training = config.training
    ? [
        { name: "moments", bytes: (config.moments === "bf16" ? 1 : 2) * parameters },
        ...(config.architecture === undefined
          ? [
              { name: "signals", bytes: floats(config.widths.length * B * d) },
              { name: "gradients", bytes: floats(ceil(F, PANEL) * d) + floats(3 * F) },
              { name: "AuxK", bytes: auxBytes(sizes) },
            ]
          : denseParts(config, sizes)),
      ]
    : [];
  return planOf([
    { name: "weights", bytes: parameters + floats(F) },
    { name: "int8 copy", bytes: array(F * d) + floats(8 * F) + 3 * floats(F) },
    ...training,
    { name: "batch", bytes: batchBytes(sizes, config.training) },
    { name: "entries", bytes: entryBytes(sizes) },
    { name: "threads", bytes: sizes.threads * threadBytes(sizes) },
  ]);
}

// ---- the arrays of native/src, by file; letters as in the equations: F latents, d dimensions, B tokens ----

const LANES = 16;
const TILE = 6;
const PANEL = 64;
const HIT_BYTES = 16;
/** What a latent of a dense architecture adds to losses and gradients (rule.h), and its squares. */
const PULLED_BYTES = 100;
const MiB = 1 << 20;

interface Sizes {
  readonly F: number;
  readonly d: number;
  readonly dIn: number;
  readonly B: number;
  readonly nDead: number;
  /** activations of a batch */
  readonly n: number;
  readonly threads: number;
}

function sizesOf(
  { dIn, dSae, threads }: EngineConfig,
  { batchTokens, k = 100, nDead = 0 }: EngineWork,
): Sizes {
  return {
    F: ceil(dSae, PANEL) * PANEL,
    d: ceil(dIn, LANES) * LANES,
    dIn,
    B: ceil(batchTokens, TILE) * TILE,
    nDead,
    n: Math.floor(Math.min(k, dSae) * batchTokens),
    threads: threads ?? availableParallelism(),
  };
}

/** train_step: x, x − bDec; screen: a slab's rows quantised (two bytes on some processors), and centred for `encode`; dense: a packed segment. */
function batchBytes({ B, d }: Sizes, training: boolean): number {
  const slab = Math.min(B, 684 * TILE, Math.max(64 * TILE, Math.floor((64 * MiB) / (4 * d))));
  const segment = Math.min(B, Math.max(64 * TILE, Math.floor((8 * MiB) / (4 * d))));
  return (
    (training ? 2 * floats(B * d) : 0) +
    floats(slab * d) +
    array(2 * slab * d) +
    floats(12 * slab) +
    floats(segment * d)
  );
}

/** dense_step: what one step holds, and numbers a latent. */
function denseParts(config: EngineConfig, { F, d, B }: Sizes): MemoryPart[] {
  const { gradients, slabs, signals } = denseStepBytes(config, B);
  const sum = (arrays: readonly number[]) => arrays.reduce((total, bytes) => total + array(bytes), 0);
  return [
    { name: "signals", bytes: sum(signals) },
    { name: "gradients", bytes: array(gradients) + floats(ceil(F, PANEL) * d) + array(PULLED_BYTES * F) },
    { name: "slabs of pre-activations", bytes: sum(slabs) },
  ];
}

/** select: hits as they are found; entries: the chosen ones, sorted, in both orders; train_step: dh in both. */
function entryBytes({ n, F, B, threads }: Sizes): number {
  const found = Math.min(threads, 2) * (n + Math.max(n / 2, 16_384)) * HIT_BYTES;
  return Math.ceil(found + n * (2 * HIT_BYTES + 6 * 4 + 4 + 2 * 4) + 4 * (2 * F + 6 * B));
}

/** aux_dense: activations, their gradients and a mask [B][nDead], gradients of the rows; aux_loss: entries, where few of the dead are chosen. */
function auxBytes({ B, d, dIn, nDead, F, threads }: Sizes): number {
  if (nDead === 0) return 0;
  const chosen = Math.min(dIn >> 1, nDead);
  const rows = 2 * floats(B * d); // the residual, and the signal
  if (nDead > 4 * chosen) return rows + B * chosen * (4 * HIT_BYTES + 6 * 4 + 3 * 4 + 4) + 32 * MiB;
  const coefficients = threads * Math.max(16 * TILE * nDead, 8 * TILE * B) * 4;
  return rows + 2 * floats(B * nDead) + array(B * nDead) + floats(2 * nDead * d) + floats(F) + coefficients;
}

/** dense: a tile's rows, a panel; screen: a panel's rows as they are quantised, candidates of a unit; train_step: a row. */
function threadBytes({ d, F, B }: Sizes): number {
  const candidates = Math.min(B, 171 * TILE) * Math.min(F, 16 * PANEL) * 0.05 * (3 * 4 + HIT_BYTES);
  return Math.ceil(4 * d * (TILE + PANEL + PANEL / 4 + 6) + candidates + 64 * 1024);
}

function floats(n: number): number {
  return array(4 * n);
}

/** Large arrays are made of 2 MB pages. */
function array(bytes: number): number {
  return bytes < 2 * MiB ? bytes : ceil(bytes, 2 * MiB) * 2 * MiB;
}

function ceil(n: number, size: number): number {
  return Math.ceil(n / size);
}
