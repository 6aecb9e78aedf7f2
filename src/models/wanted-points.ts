/** The residual stream at the layers that one wants: found in the graph, or at tensors that one names. */
import { ModelError } from "../errors.ts";
import type { ModelFolder } from "./model-files.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { findResidualStream, type ResidualPoint } from "./residual-stream.ts";

/** Points of a model's stream. */
export interface WantedPoints {
  /** ascending by layer, without duplicates */
  readonly points: readonly ResidualPoint[];
  /** layers of the model; where nobody says, as many as the highest wanted one needs */
  readonly nLayers: number;
}

/**
 * @param tensors by layer; given, the stream is not searched for, and every one of `layers` needs a tensor
 * @throws {ModelError} no residual stream, a layer out of range (says the range), no such tensor
 */
export function wantedPoints(
  { decoder, config }: Pick<ModelFolder, "decoder" | "config">,
  layers: readonly number[],
  tensors?: ReadonlyMap<number, string>,
): WantedPoints {
  if (tensors === undefined) {
    const stream = findResidualStream(decoder.model, config.nLayers);
    const nLayers = stream.layers.length;
    return { points: checkLayers(layers, nLayers).map((layer) => stream.layers[layer]), nLayers };
  }
  const nLayers = config.nLayers ?? Math.max(-1, ...layers) + 1;
  const points = checkLayers(layers, nLayers).map((layer) => namedPoint(decoder.model, layer, tensors));
  return { points, nLayers };
}

/** Ascending, without duplicates. @throws {ModelError} none, or out of range */
function checkLayers(layers: readonly number[], nLayers: number): number[] {
  if (layers.length === 0) throw new ModelError("no layers asked for", { hint: "Name at least one layer." });
  for (const layer of layers)
    if (!Number.isInteger(layer) || layer < 0 || layer >= nLayers)
      throw new ModelError(
        `layer ${layer} is out of range: the model has ${nLayers} decoder layers, 0 to ${nLayers - 1}`,
        { hint: "choose others: `layers` in a recipe, --layer on the command line" },
      );
  return [...new Set(layers)].sort((a, b) => a - b);
}

function namedPoint(model: OnnxModel, layer: number, tensors: ReadonlyMap<number, string>): ResidualPoint {
  const tensor = tensors.get(layer);
  if (tensor === undefined) throw new ModelError(`no tensor named for layer ${layer}`);
  const node = model.producerOf.get(tensor);
  if (node === undefined)
    throw new ModelError(`${model.file}: no tensor "${tensor}" in the graph, named for layer ${layer}`, {
      hint: "Names of tensors stand in the graph; a viewer such as Netron shows them.",
    });
  return { layer, tensor, sumOf: [], node };
}
