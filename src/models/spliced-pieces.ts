/** Into which pieces a model is cut for splicing: at the wanted layers, and before its unembedding where that can be found. */
import { ModelError } from "../errors.ts";
import type { ModelFolder } from "./model-files.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { checkLayers } from "./open-model.ts";
import { residualCuts } from "./residual-cuts.ts";
import { findResidualStream, type ResidualPoint } from "./residual-stream.ts";
import { type Segment, segmentModel } from "./split.ts";
import { findUnembedding } from "./unembedding.ts";

/** A model's pieces, in the order they run. */
export interface ModelPieces {
  /** ascending */
  readonly layers: readonly number[];
  readonly nLayers: number;
  /** the residual stream's tensor at each of `layers` */
  readonly cuts: readonly string[];
  /** what runs once a batch and intervention: one piece below each cut, and what lies above the last, up to `final` */
  readonly body: readonly Segment[];
  /** gives the logits: the unembedding alone, or all that lies above the last cut */
  readonly final: Segment;
  /** the final piece's input that can be fed some tokens' rows of; null: it needs whole windows */
  readonly rowwise: string | null;
  /** where `rowwise` is null: why */
  readonly problem: string | null;
}

/** The graph's output. */
export const LOGITS = "logits";

/** @throws {ModelError} no residual stream, a layer out of range, no logits, a tensor that is not there */
export function modelPieces(
  { decoder, config }: Pick<ModelFolder, "decoder" | "config">,
  options: { layers: readonly number[]; tensors?: ReadonlyMap<number, string> },
): ModelPieces {
  const { tensors } = options;
  const points =
    tensors === undefined
      ? findResidualStream(decoder.model, config.nLayers).layers
      : namedPoints(decoder.model, tensors);
  const nLayers =
    tensors === undefined ? points.length : (config.nLayers ?? Math.max(...options.layers, 0) + 1);
  const layers = checkLayers(options.layers, nLayers);
  const wanted = layers.map((layer) => {
    const point = points.find((one) => one.layer === layer);
    if (point === undefined) throw new ModelError(`no tensor named for layer ${layer}`);
    return point;
  });
  const ready = residualCuts(decoder.model, wanted);
  const cuts = ready.tensors;
  const unembedding = findUnembedding(ready.model, LOGITS);
  if ("problem" in unembedding || cuts.includes(unembedding.hidden)) {
    const problem = "problem" in unembedding ? unembedding.problem : "no norm stands before its unembedding";
    const segments = segmentModel(ready.model, cuts, [LOGITS]);
    return { layers, nLayers, cuts, ...lastApart(segments), rowwise: null, problem };
  }
  const { model, hidden } = unembedding;
  const segments = segmentModel(model, [...cuts, hidden], [LOGITS]);
  return { layers, nLayers, cuts, ...lastApart(segments), rowwise: hidden, problem: null };
}

function lastApart(segments: readonly Segment[]): Pick<ModelPieces, "body" | "final"> {
  return { body: segments.slice(0, -1), final: segments[segments.length - 1] };
}

/** Points of the stream that the user names. */
function namedPoints(model: OnnxModel, tensors: ReadonlyMap<number, string>): ResidualPoint[] {
  return [...tensors].map(([layer, tensor]) => {
    const node = model.producerOf.get(tensor);
    if (node === undefined)
      throw new ModelError(`${model.file}: no tensor "${tensor}" in the graph, named for layer ${layer}`, {
        hint: "Names of tensors stand in the graph; a viewer such as Netron shows them.",
      });
    return { layer, tensor, sumOf: [], node };
  });
}
