/**
 * All activations of the indexed tokens, token by token, as they come from the encoder: kept in memory while the budget
 * lasts, in a scratch file a segment beyond it. 6 bytes an entry (8 with more than 65 536 latents), written once.
 *
 * Sorted by latent they are by `sorted-block.ts`, a block of latents at a time.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { SparseActs } from "../../kernels/kernels.ts";
import { fileError } from "../../storage/file-error.ts";
import { bytesOf, type TypedArray } from "../../tensor/typed-array.ts";

/** Consecutive tokens with their entries, CSR; latents ascending within a token. */
export interface Segment {
  readonly firstToken: number;
  /** [nTokens + 1] */
  readonly offsets: Uint32Array;
  readonly latents: Uint16Array | Uint32Array;
  readonly values: Float32Array;
}

/** How much is held in memory, and in which pieces. */
export interface EntriesBudget {
  /** of finished segments */
  readonly residentBytes: number;
  /** a segment ends with the chunk in which it reaches so many */
  readonly segmentEntries: number;
}

/** Bytes of an entry of an SAE with `dSae` latents. */
export function entryBytes(dSae: number): number {
  return dSae <= 65_536 ? 6 : 8;
}

interface SegmentRecord {
  readonly firstToken: number;
  readonly nTokens: number;
  readonly nEntries: number;
  /** null: in a file */
  readonly resident: Segment | null;
}

export class Entries {
  readonly #dSae: number;
  readonly #folder: string;
  readonly #budget: EntriesBudget;
  readonly #segments: SegmentRecord[] = [];
  #open: GrowingSegment;
  #residentBytes = 0;
  /** the segment read last */
  #read: { readonly index: number; readonly segment: Segment } | null = null;

  /** `folder`: for scratch files; whoever made it removes it. */
  constructor(dSae: number, folder: string, budget: EntriesBudget) {
    this.#dSae = dSae;
    this.#folder = folder;
    this.#budget = budget;
    this.#open = new GrowingSegment(dSae, 0);
  }

  get nSegments(): number {
    return this.#segments.length;
  }

  /** true: nothing is read from disk */
  get isResident(): boolean {
    return this.#segments.every(({ resident }) => resident !== null);
  }

  /** Takes in the next tokens. */
  async append(acts: SparseActs): Promise<void> {
    this.#open.append(acts);
    if (this.#open.nEntries >= this.#budget.segmentEntries) await this.#close();
  }

  /** Once all tokens are in. */
  async finish(): Promise<void> {
    if (this.#open.nTokens > 0) await this.#close();
  }

  async segment(index: number): Promise<Segment> {
    const { resident } = this.#segments[index];
    if (resident !== null) return resident;
    if (this.#read?.index !== index) {
      this.#read = null; // one at a time
      this.#read = { index, segment: await this.#load(index) };
    }
    return this.#read.segment;
  }

  async #close(): Promise<void> {
    const segment = this.#open.take();
    const nTokens = segment.offsets.length - 1;
    const nEntries = segment.values.length;
    const bytes = nEntries * entryBytes(this.#dSae) + 4 * (nTokens + 1);
    const fits = this.#residentBytes + bytes <= this.#budget.residentBytes;
    const { firstToken } = segment;
    if (fits) this.#residentBytes += bytes;
    else await this.#save(this.#segments.length, segment);
    this.#segments.push({ firstToken, nTokens, nEntries, resident: fits ? segment : null });
    this.#open = new GrowingSegment(this.#dSae, firstToken + nTokens);
  }

  async #save(index: number, { offsets, latents, values }: Segment): Promise<void> {
    const path = this.#path(index);
    try {
      const file = await open(path, "w");
      try {
        for (const array of [offsets, latents, values]) await file.writeFile(bytesOf(array));
      } finally {
        await file.close();
      }
    } catch (error) {
      throw fileError(error, path);
    }
  }

  async #load(index: number): Promise<Segment> {
    const { firstToken, nTokens, nEntries } = this.#segments[index];
    const segment: Segment = {
      firstToken,
      offsets: new Uint32Array(nTokens + 1),
      latents: latentsArray(this.#dSae, nEntries),
      values: new Float32Array(nEntries),
    };
    const path = this.#path(index);
    const file = await open(path, "r");
    try {
      let position = 0;
      for (const array of [segment.offsets, segment.latents, segment.values] as TypedArray[]) {
        const bytes = bytesOf(array);
        for (let at = 0; at < bytes.length; ) {
          const { bytesRead } = await file.read(
            bytes,
            at,
            Math.min(1 << 26, bytes.length - at),
            position + at,
          );
          if (bytesRead === 0) throw new Error(`${path} ends early`);
          at += bytesRead;
        }
        position += bytes.length;
      }
    } catch (error) {
      throw fileError(error, path);
    } finally {
      await file.close();
    }
    return segment;
  }

  #path(index: number): string {
    return join(this.#folder, `entries-${String(index).padStart(5, "0")}.bin`);
  }
}

/** A segment in arrays that double. */
class GrowingSegment {
  readonly #dSae: number;
  readonly #firstToken: number;
  #offsets = new Uint32Array(1 << 12);
  #latents: Uint16Array | Uint32Array;
  #values = new Float32Array(1 << 16);
  nTokens = 0;
  nEntries = 0;

  constructor(dSae: number, firstToken: number) {
    this.#dSae = dSae;
    this.#firstToken = firstToken;
    this.#latents = latentsArray(dSae, 1 << 16);
  }

  append({ nTokens, offsets, latents, values }: SparseActs): void {
    this.#reserve(nTokens, latents.length);
    for (let t = 1; t <= nTokens; t++) this.#offsets[this.nTokens + t] = this.nEntries + offsets[t];
    this.#latents.set(latents, this.nEntries);
    this.#values.set(values, this.nEntries);
    this.nTokens += nTokens;
    this.nEntries += latents.length;
  }

  take(): Segment {
    return {
      firstToken: this.#firstToken,
      offsets: this.#offsets.slice(0, this.nTokens + 1),
      latents: this.#latents.slice(0, this.nEntries),
      values: this.#values.slice(0, this.nEntries),
    };
  }

  #reserve(tokens: number, entries: number): void {
    const wanted = this.nTokens + tokens + 1;
    if (wanted > this.#offsets.length)
      this.#offsets = grown(this.#offsets, new Uint32Array(Math.max(2 * this.#offsets.length, wanted)));
    const length = this.nEntries + entries;
    if (length <= this.#values.length) return;
    const size = Math.max(2 * this.#values.length, length);
    this.#values = grown(this.#values, new Float32Array(size));
    this.#latents = grown(this.#latents, latentsArray(this.#dSae, size));
  }
}

function grown<T extends Float32Array | Uint32Array | Uint16Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}

function latentsArray(dSae: number, n: number): Uint16Array | Uint32Array {
  return dSae <= 65_536 ? new Uint16Array(n) : new Uint32Array(n);
}
