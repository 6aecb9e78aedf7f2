/**
 * Whether latents are silent on pieces of the indexed tokens, by encoding these very tokens again from the activation
 * stores that were indexed. Every piece is an example of another latent: that this latent comes out with the value the
 * index recorded is how it is known that stores, SAE and index belong together.
 */
import type { ActivationRows, ActivationStore } from "../activations/activations.ts";
import { selectRows } from "../activations/rows.ts";
import { StateError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { type Example, windowOf } from "./examples.ts";
import { type Piece, pieceOf, type SilenceOf } from "./silence.ts";

/** Does `latent` fire in this example of another? */
export interface WantedSilence {
  readonly latent: number;
  readonly example: Example;
}

export interface StoreSilenceOptions {
  /** of the indexed sets, in the index's order */
  readonly stores: readonly ActivationStore[];
  /** the indexed SAE's: [n, dIn] → its activations */
  readonly encode: (x: Float32Array) => Promise<SparseActs>;
  readonly wanted: readonly WantedSilence[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (rows: { readonly done: number; readonly total: number }) => void;
}

const CHUNK_ROWS = 4096;
/** Another engine may round otherwise. */
const TOLERANCE = 1e-3;

/** What is wanted of one window. */
interface WantedWindow {
  readonly ranges: Piece[];
  /** latents that are asked about */
  readonly latents: Set<number>;
  /** by position: what must come out there */
  readonly expected: Map<number, Example[]>;
}

/**
 * Goes through the shards that hold wanted windows, once; of other rows only the labels count.
 * @throws {StateError} the stores or the SAE are not those that were indexed
 */
export async function silenceByStores(options: StoreSilenceOptions): Promise<SilenceOf> {
  const { stores, wanted } = options;
  const windows = wantedWindows(wanted);
  /** latents asked about that fire, by window and position */
  const fires = new Map<string, Map<number, number[]>>();
  const seen = new Set<Example>();
  for (const [set, store] of stores.entries())
    for await (const rows of wantedRows(set, store, windows, options)) {
      const acts = await options.encode(rows.activations);
      for (let row = 0; row < rows.nRows; row++) {
        const key = windowOf({ set, window: rows.window[row] });
        const { latents, expected } = windows.get(key)!;
        const position = rows.position[row];
        const [begin, end] = [acts.offsets[row], acts.offsets[row + 1]];
        const active = acts.latents.subarray(begin, end);
        for (const example of expected.get(position) ?? []) {
          const at = active.indexOf(example.latent);
          checkValue(example, at < 0 ? 0 : acts.values[begin + at], store.dir);
          seen.add(example);
        }
        const found = [...active].filter((latent) => latents.has(latent));
        if (found.length === 0) continue;
        const ofWindow = fires.get(key) ?? new Map<number, number[]>();
        fires.set(key, ofWindow.set(position, found));
      }
    }
  const lost = wanted.find(({ example }) => !seen.has(example));
  if (lost !== undefined)
    throw new StateError(
      `the stores do not hold position ${lost.example.position} of ${windowOf(lost.example)}, which was indexed`,
      "they are not those that the index was made of: index them again",
    );
  const known = new Set(wanted.map(({ latent, example }) => keyOf(latent, pieceOf(example))));
  return (latent, piece) => {
    if (!known.has(keyOf(latent, piece))) return "unknown";
    for (const [position, latents] of fires.get(windowOf(piece)) ?? [])
      if (position >= piece.from && position < piece.to && latents.includes(latent)) return "fires";
    return "silent";
  };
}

function wantedWindows(wanted: readonly WantedSilence[]): Map<string, WantedWindow> {
  const windows = new Map<string, WantedWindow>();
  for (const { latent, example } of wanted) {
    const key = windowOf(example);
    const window: WantedWindow = windows.get(key) ?? { ranges: [], latents: new Set(), expected: new Map() };
    windows.set(key, window);
    window.ranges.push(pieceOf(example));
    window.latents.add(latent);
    const others = window.expected.get(example.position) ?? [];
    window.expected.set(example.position, [...others, example]);
  }
  return windows;
}

/** The rows of a store that lie in wanted ranges, some thousand at a time. */
async function* wantedRows(
  set: number,
  store: ActivationStore,
  windows: ReadonlyMap<string, WantedWindow>,
  { signal, onProgress }: StoreSilenceOptions,
): AsyncGenerator<ActivationRows> {
  let first = 0;
  for (const shard of store.manifest.shards) {
    const end = first + shard.nRows;
    const isWanted =
      shard.firstWindow === undefined ||
      shard.nWindows === undefined ||
      Array.from({ length: shard.nWindows }, (_, i) => shard.firstWindow! + i).some((window) =>
        windows.has(windowOf({ set, window })),
      );
    for (let from = first; isWanted && from < end; from += CHUNK_ROWS) {
      signal?.throwIfAborted();
      const rows = await store.rows(from, Math.min(end, from + CHUNK_ROWS));
      const indices = Array.from(rows.window.keys()).filter((row) => {
        const position = rows.position[row];
        const wanted = windows.get(windowOf({ set, window: rows.window[row] }));
        return wanted?.ranges.some(({ from, to }) => position >= from && position < to) ?? false;
      });
      if (indices.length > 0) yield selectRows(rows, store.dIn, indices);
      onProgress?.({ done: Math.min(end, from + CHUNK_ROWS), total: store.nRows });
    }
    first = end;
    onProgress?.({ done: end, total: store.nRows });
  }
}

function checkValue({ latent, value, position, window }: Example, found: number, dir: string): void {
  if (Math.abs(found - value) <= TOLERANCE * Math.abs(value)) return;
  throw new StateError(
    `${dir}: latent ${latent} is ${found} at position ${position} of window ${window}, the index says ${value}`,
    "SAE or activations are not those that were indexed: index them again",
  );
}

function keyOf(latent: number, { set, window, from, to }: Piece): string {
  return `${latent} ${set}/${window} ${from}-${to}`;
}
