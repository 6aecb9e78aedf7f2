/** What a writer makes of an SAE before anything is written: tensors, JSON files, and what the format cannot say. */
import type { TensorToWrite } from "../../formats/safetensors.ts";
import type { StoredDtype } from "../../formats/stored-tensor.ts";
import type { Sae } from "../sae.ts";

/** An SAE as a format lays it down. */
export interface LaidOut {
  /** what it is by the format's own name */
  readonly architecture: string;
  /** the file of tensors, .safetensors or .npz */
  readonly weights: { readonly name: string; readonly tensors: readonly TensorToWrite[] };
  /** JSON files by their names */
  readonly json: Readonly<Record<string, unknown>>;
  /** what a reader of these files will not find out, in words */
  readonly lost: readonly string[];
}

/** A format that SAEs can be written in. */
export interface Writer {
  /** for people */
  readonly name: string;
  /** the files that a folder in this format may hold */
  readonly files: readonly string[];
  /**
   * `folder` is the path to be: some formats say in it what they say nowhere else.
   * @throws {UnsupportedError} the numbers would mean something else in this format, or be infinite in bfloat16
   */
  layOut(sae: Sae, dtype: StoredDtype, folder: string): LaidOut;
}
