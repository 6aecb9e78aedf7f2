/** Turns residual points into outputs of a graph: the lower part of a model, up to the highest tapped layer. */

import { cutModel } from "./onnx-cut.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { ELEM, nodeField } from "./onnx-write.ts";
import type { ResidualPoint } from "./residual-stream.ts";

export interface TappedGraph {
  readonly graph: Uint8Array<ArrayBuffer>;
  /** the output that holds each point, in the order asked for; float32 [batch, sequence, dIn] */
  readonly taps: readonly string[];
}

/**
 * The part of `model` that computes the residual stream at `points`, with these as its only outputs, in float32.
 * With `whole`, the graph's own outputs stay too.
 */
export function tapGraph(
  model: OnnxModel,
  points: readonly ResidualPoint[],
  options: { whole?: boolean } = {},
): TappedGraph {
  const append: Uint8Array[] = [];
  const appendReads: string[] = [];
  const taps: string[] = [];
  const outputs: { name: string; elemType?: number }[] = [];
  for (const point of points) {
    if (point.tensor !== null && model.values.get(point.tensor)?.elemType === ELEM.float32) {
      taps.push(point.tensor);
      outputs.push({ name: point.tensor, elemType: ELEM.float32 });
      continue;
    }
    const name = `blocks.${point.layer}.hook_resid_post`;
    const sum = sumNodes(point, name);
    append.push(...sum.nodes, nodeField("Cast", [sum.tensor], [name], { attributes: { to: ELEM.float32 } }));
    appendReads.push(...(point.tensor === null ? point.sumOf : [point.tensor]));
    taps.push(name);
    outputs.push({ name, elemType: ELEM.float32 });
  }
  const rest = options.whole ? model.outputs.filter((output) => !taps.includes(output.name)) : [];
  return { graph: cutModel(model, { outputs: [...rest, ...outputs], append, appendReads }), taps };
}

/** Nodes that spell out a sum which the graph holds only inside a fused node. */
export function sumNodes(point: ResidualPoint, name: string): { tensor: string; nodes: Uint8Array[] } {
  if (point.tensor !== null) return { tensor: point.tensor, nodes: [] };
  const nodes: Uint8Array[] = [];
  let tensor = point.sumOf[0];
  point.sumOf.slice(1).forEach((term, i) => {
    const sum = `${name}/sum_${i}`;
    nodes.push(nodeField("Add", [tensor, term], [sum]));
    tensor = sum;
  });
  return { tensor, nodes };
}
