/** Into which pieces a model is cut for splicing: at the wanted layers, and before its unembedding where that can be found. */
import type { ModelFolder } from "./model-files.ts";
import { residualCuts } from "./residual-cuts.ts";
import { type Segment, segmentModel } from "./split.ts";
import { findUnembedding } from "./unembedding.ts";
import { wantedPoints } from "./wanted-points.ts";

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
  const { points, nLayers } = wantedPoints({ decoder, config }, options.layers, options.tensors);
  const layers = points.map(({ layer }) => layer);
  const ready = residualCuts(decoder.model, points);
  const cuts = ready.tensors;
  const unembedding = findUnembedding(ready.model, LOGITS);
  if ("problem" in unembedding || cuts.includes(unembedding.hidden)) {
    const problem =
      "problem" in unembedding
        ? unembedding.problem
        : "they are made of the residual stream itself, without a norm";
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
