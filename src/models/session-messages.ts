/** What the thread that runs ONNX Runtime and the thread that asks it say to each other. Types only. */
import type { Device } from "./runtime.ts";

/** A tensor without ONNX Runtime's class: type as ONNX Runtime spells it ("float32", "int64", "float16", "bool" …). */
export interface TensorData {
  readonly type: string;
  readonly dims: readonly number[];
  /** little-endian elements, row-major; a view on a whole ArrayBuffer, so that it can be transferred */
  readonly data: ArrayBufferView<ArrayBuffer>;
}

/** An input or output as the session declares it. */
export interface TensorSpec {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

export type SessionRequest =
  | {
      readonly kind: "load";
      readonly graph: Uint8Array;
      /** absolute folder of the external weights */
      readonly folder: string;
      readonly device: Device;
      readonly threads: number;
      /** dequantises weights beforehand, to float32, instead of fusing that with products, which may round activations too */
      readonly plainProducts: boolean;
    }
  | {
      readonly kind: "run";
      /** sessions to run in this order, over one table of named tensors */
      readonly sessions: readonly number[];
      readonly values: Readonly<Record<string, TensorData>>;
      readonly wanted: readonly string[];
      /** a kept table to start from; `values` go before what it holds */
      readonly base?: number;
      /** keeps these tensors of the table, in the thread, under a number */
      readonly keep?: { readonly table: number; readonly names: readonly string[] };
    }
  | ({ readonly kind: "score" } & ScoreRequest)
  | ({ readonly kind: "logits" } & LogitsRequest)
  | { readonly kind: "drop"; readonly tables: readonly number[] };

/** How the logits of some tokens of kept tables come about. */
interface Unembed {
  /** gives the logits */
  readonly session: number;
  readonly logits: string;
  /** the session's input of which only the wanted rows are fed, [..., tokens, d]; null: it is fed with all, as they are */
  readonly rowwise: string | null;
  /** tokens of a table's run, padding included */
  readonly nRows: number;
  /** wanted tokens, by row */
  readonly rows: Uint32Array;
}

/** Cross-entropy and KL of runs against the clean one, from kept tables; logits never leave the thread. */
export interface ScoreRequest extends Unembed {
  readonly clean: number;
  readonly others: readonly number[];
  /** the id that comes after each wanted token, −1 for none */
  readonly next: Int32Array;
}

/** The logits of some tokens of a kept table's run: [rows, vocab]. */
export interface LogitsRequest extends Unembed {
  readonly table: number;
}

/** One entry a wanted token; one array an intervened run. */
export interface ScoreAnswer {
  readonly ceClean: Float64Array<ArrayBuffer>;
  readonly ce: readonly Float64Array<ArrayBuffer>[];
  readonly kl: readonly Float64Array<ArrayBuffer>[];
}

export interface LoadedSession {
  readonly session: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

export type SessionAnswer =
  | { readonly id: number; readonly loaded: LoadedSession }
  | {
      readonly id: number;
      readonly values: Readonly<Record<string, TensorData>>;
      /** spent inside ONNX Runtime */
      readonly seconds: number;
    }
  | { readonly id: number; readonly scores: ScoreAnswer; readonly seconds: number }
  | { readonly id: number; readonly logits: Float32Array<ArrayBuffer>; readonly seconds: number }
  | { readonly id: number; readonly dropped: number }
  | { readonly id: number; readonly failure: string };
