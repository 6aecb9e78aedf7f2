/** What goes to a worker that sums up which latents fire together, and what comes back. Types only. */
import type { FiringData, FiringNeighbour } from "./firing-together.ts";

/** Arrays of a block and of the entries are shared, not copied. */
export type ToFiringWorker =
  | { readonly kind: "block"; readonly data: FiringData }
  | { readonly kind: "range"; readonly from: number; readonly to: number };

/** Answer to a range: of each of its latents. */
export type FromFiringWorker = FiringNeighbour[][];
