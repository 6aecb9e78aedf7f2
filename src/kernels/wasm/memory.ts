/**
 * How much memory the WebAssembly engine needs, before it takes any. A module addresses 4 GiB; 3.5 GB of them are planned
 * with, the rest is for holes between arrays that came and went. Upper estimates, held in `test/parity/wasm.test.ts`
 * against what the module takes. Letters as in the equations: F latents, d dimensions, B tokens.
 */
import { EngineError } from "../../errors.ts";
import { denseStepBytes } from "../dense-memory.ts";
import type { EngineConfig, Selection } from "../kernels.ts";

/** What may be planned with. */
export const WASM_LIMIT_BYTES = 3.5e9;

/** Values of any array that is brought in or out at once, where it can be cut. */
export const SLICE_VALUES = 4 << 20;

/** Two such arrays, and everything that stays small. */
const SLACK_BYTES = 2 * 4 * SLICE_VALUES + (16 << 20);

/** A hit as it is found and kept, and the entry it becomes, in two orders, while vectors grow by doubling. */
const BYTES_A_HIT = 112;

/** Biases, norms, scales, counts, dimensions kept in fp32: all that a latent has besides its rows. */
const BYTES_A_LATENT = 240;

const HINT =
  "the native engine has no such limit: install g++ and make, then npm run setup; or take the reference engine, or fewer latents";

const padded = (n: number, multiple: number) => Math.ceil(n / multiple) * multiple;

/** Weights, their int8 copy, moments, dense gradients, and the search's own memory: `4·2·F·d + F·d [+ 4·4·F·d]` and small things. */
export function engineBytes(config: EngineConfig): number {
  const { dIn, dSae, training, moments } = config;
  const d = padded(dIn, 16);
  const bytesAValue = 2 * 4 + 1 + (training ? (moments === "bf16" ? 4 * 2 : 4 * 4) : 0);
  const slabTokens = Math.min(684 * 6, Math.max(384, (64 << 20) / (4 * d)));
  const segmentTokens = Math.max(384, (8 << 20) / (4 * d));
  const search = slabTokens * (6 * d + 128) + 4 * d * (segmentTokens + 256);
  const latents = padded(dSae, 64) * (bytesAValue * d + (training ? d / 16 : 0) + BYTES_A_LATENT);
  return latents + (training ? denseStepBytes(config, 0).gradients : 0) + search + SLACK_BYTES;
}

/** What a token takes while it is encoded, if it has `entries` activations. */
export function encodeTokenBytes({ dIn }: EngineConfig, entries: number): number {
  return 4 * dIn + BYTES_A_HIT * entries + 32;
}

/** What a training batch takes beyond the engine: inputs, residuals, the signal of every width, entries, AuxK. */
export function stepBytes(
  config: EngineConfig,
  nTokens: number,
  selection: Selection,
  nDead: number,
): number {
  const d = padded(config.dIn, 16);
  if (config.architecture !== undefined) {
    const { slabs, signals } = denseStepBytes(config, nTokens);
    return nTokens * (4 * 3 * d + 128) + [...slabs, ...signals].reduce((sum, bytes) => sum + bytes, 0);
  }
  const rows = 3 + config.widths.length + (nDead > 0 ? 2 : 0);
  const chosen = Math.min(config.dIn >> 1, nDead);
  const isDense = nDead <= 4 * chosen;
  const entries = mostEntries(selection, config.dSae) + (isDense ? 0 : chosen);
  const perToken = 4 * rows * d + BYTES_A_HIT * entries + (isDense ? 10 * nDead : 0) + 128;
  const perDead = isDense ? 8 * d + 1024 : 0;
  return nTokens * perToken + nDead * perDead;
}

/** The most activations a token can have; of batch-topk, the mean. */
export function mostEntries(selection: Selection, dSae: number): number {
  return "k" in selection ? selection.k : dSae;
}

/** @throws {EngineError} more than `WASM_LIMIT_BYTES` */
export function checkFits(what: string, bytes: number, hint: string = HINT): void {
  if (bytes <= WASM_LIMIT_BYTES) return;
  throw new EngineError(
    `${what} needs ${gigabytes(bytes)} of memory, the WebAssembly engine has ${gigabytes(WASM_LIMIT_BYTES)}`,
    { hint },
  );
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
