/**
 * What a bench is: a function from options to figures, checked before they are timed. One bench a file; `benches.ts` lists
 * them. A bench neither prints nor saves: it hands back numbers for machines and lines for people.
 */
import type { DenseArchitecture, Screening } from "../kernels/kernels.ts";
import type { EnginePreference } from "../kernels/select.ts";
import type { BenchSize } from "./sizes.ts";

export interface BenchOptions {
  readonly size: BenchSize;
  /** Tokens of a batch; undefined: the bench's own choice. */
  readonly batchTokens?: number;
  /** Worker threads; undefined: all cores. */
  readonly threads?: number;
  readonly engine: EnginePreference;
  /** Undefined: the engine's default. */
  readonly screening?: Screening;
  /** Seconds that are timed, at least; three turns are timed however long they take. */
  readonly seconds: number;
  /** Percent of the latents that are dead, with AuxK for them. `train` only. */
  readonly dead: number;
  /** `train`: an architecture whose gradients are dense; undefined: matryoshka batch-topk. */
  readonly architecture?: DenseArchitecture["kind"];
  /** What `encode` selects by. */
  readonly selection: "batch-topk" | "topk" | "threshold";
  /** `harvest`: folder of the model; undefined: the embedded one. */
  readonly model?: string;
  /** `harvest`: layers it taps; undefined: at a quarter, half and three quarters of the model's height. */
  readonly layers?: readonly number[];
  /** Tokens of one harvest, evaluation or index; undefined: what takes about `seconds`, or eight chunks. */
  readonly tokens?: number;
  /** Called with a line for people now and then. */
  readonly note: (line: string) => void;
}

/** Numbers of one bench, as they are stored. */
export interface Figures {
  readonly bench: string;
  /** Median; null for a bench that handles no tokens. */
  readonly tokensPerSecond: number | null;
  readonly [name: string]: unknown;
}

export interface BenchReport {
  readonly figures: Figures;
  /** The same for people. */
  readonly lines: readonly string[];
  /** What tells this measurement from others of its bench, for the name of its file: "tiny-B1024". */
  readonly variant: string;
}

export type Bench = (options: BenchOptions) => Promise<BenchReport>;
