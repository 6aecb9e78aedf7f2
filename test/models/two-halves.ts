/** A model cut in two after one layer: the smallest use of segments, for tests that run both halves. */
import type { OnnxModel } from "../../src/models/onnx-model.ts";
import { residualCuts } from "../../src/models/residual-cuts.ts";
import type { ResidualStream } from "../../src/models/residual-stream.ts";
import { segmentModel } from "../../src/models/split.ts";

/** A model in two halves. */
export interface SplitModel {
  /** name of the residual tensor: the lower half's first output, an input of the upper half */
  readonly residual: string;
  /** every tensor that crosses the cut, `residual` first */
  readonly boundary: readonly string[];
  readonly lower: Uint8Array<ArrayBuffer>;
  /** Builds the upper half; takes the element types ("float32", "float16" …) that the lower half's session declares. */
  upper(types: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer>;
}

/**
 * Splits `model` after decoder layer `layer`. The upper half sees the residual stream only through its inputs.
 * @throws {ModelError} the graph has no output of the given name
 */
export function splitModel(
  model: OnnxModel,
  stream: ResidualStream,
  layer: number,
  outputs: readonly string[] = ["logits"],
): SplitModel {
  const ready = residualCuts(model, [stream.layers[layer]]);
  const [residual] = ready.tensors;
  const [lower, upper] = segmentModel(ready.model, [residual], outputs);
  return {
    residual,
    boundary: lower.gives,
    lower: lower.build(new Map()),
    upper: (types) => upper.build(types),
  };
}
