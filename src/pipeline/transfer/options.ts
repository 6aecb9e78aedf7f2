/** What `evaluateTransfer` is asked for, and how it tells how far it is. */
import type { EvaluateOptions } from "../../evals/evaluate.ts";
import type { EngineFactory } from "../../kernels/kernels.ts";
import type { Sae } from "../../sae/sae.ts";
import type { RunEvent } from "../context.ts";
import type { TappedLayerOptions } from "./tapped-layer.ts";
import type { TransferText } from "./texts.ts";

/** A model, or a store of its activations, and what the table calls it. */
export interface Named {
  readonly name: string;
  /** a folder here */
  readonly path: string;
}

/** Which SAE, on which models, texts and stores. */
export interface TransferOptions {
  /** as the user named it */
  readonly name: string;
  readonly sae: Sae;
  /** the model that the SAE was made for, or null */
  readonly base: Named | null;
  readonly models: readonly Named[];
  readonly texts: readonly TransferText[];
  readonly protocols: readonly ("short" | "full")[];
  /** kept tokens a text and protocol; a window's more */
  readonly tokens: number;
  /** also what the SAE does to the model's predictions, on the windows that a model and text are judged by; default false */
  readonly splice?: boolean;
  /** tokens a window under the full protocol; default: the SAE's context size, else 256 */
  readonly contextSize?: number;
  /** default: the layer that the SAE's hook point names */
  readonly layer?: number;
  /** activations of the base model, and of others; a base store goes with the stores of the same set, a single one with all */
  readonly baseStores: readonly Named[];
  readonly stores: readonly Named[];
  readonly createEngine: EngineFactory;
  /** of the engine; ONNX Runtime takes all cores */
  readonly threads?: number;
  readonly device?: TappedLayerOptions["device"];
  readonly dtype?: string;
  /** of samples, halves and intervals; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

/** Of the piece of work that was begun. */
export type Report = (done: number, total: number, unit: string) => void;

/** Tells that a piece of work begins, and how far it is. */
export function reporter({ onEvent }: TransferOptions, title: string): Report {
  onEvent?.({ kind: "begin", unit: "eval", title, resumed: false });
  return (done, total, unit) =>
    onEvent?.({ kind: "progress", unit: "eval", progress: { done, total, unit } });
}

/** Of every evaluation. */
export function evaluateOptions({ seed, signal }: TransferOptions, report: Report): EvaluateOptions {
  return { seed, signal, onProgress: ({ done, total }) => report(done, total, "tokens") };
}
