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
    }
  | {
      readonly kind: "run";
      /** sessions to run in this order, over one table of named tensors */
      readonly sessions: readonly number[];
      readonly values: Readonly<Record<string, TensorData>>;
      readonly wanted: readonly string[];
    };

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
  | { readonly id: number; readonly failure: string };
