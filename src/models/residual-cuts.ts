/**
 * Makes the residual stream at given layers a tensor that everything above reads, so that a graph can be cut there and
 * something else be put in its place. Where an exporter fused the skip connection with the next norm, the norm would go on
 * seeing the old stream: it is spelled out beside, reading the tensor.
 */
import { replaceNodes } from "./onnx-cut.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";
import { nodeField } from "./onnx-write.ts";
import { bytesField, fieldText, messageFields, textField, type WireFile, wireFields } from "./protobuf.ts";
import { FUSED_SKIP, type ResidualPoint } from "./residual-stream.ts";
import { sumNodes } from "./taps.ts";

/** `model` ready to be cut at `points`, and the name of the stream's tensor at each. */
export function residualCuts(
  model: OnnxModel,
  points: readonly ResidualPoint[],
): { model: OnnxModel; tensors: string[] } {
  const replacements = new Map<number, Uint8Array[]>();
  const tensors = points.map((point) => {
    const { node } = point;
    const tensor = point.tensor ?? `blocks.${point.layer}.hook_resid_post`;
    if (point.tensor === null) {
      const sum = sumNodes(point, tensor);
      const named = nodeField("Identity", [sum.tensor], [tensor]);
      replacements.set(node.index, [...sum.nodes, named, normOf(node, tensor)]);
    } else if (FUSED_SKIP.test(node.op) && node.outputs[3] === tensor)
      replacements.set(node.index, [
        withOutputs(node, [`${tensor}/unread_norm`, "", "", tensor]),
        normOf(node, tensor),
      ]);
    return tensor;
  });
  return { model: replaceNodes(model, replacements), tensors };
}

/** The norm of a fused skip + norm, reading `stream` and giving what the fused node gave. */
function normOf(node: OnnxNode, stream: string): Uint8Array {
  const simplified = node.op.includes("Simplified");
  const weights = [node.inputs[2], ...(simplified ? [] : [node.inputs[3]])].filter((name) => name);
  return nodeField(
    simplified ? "SimplifiedLayerNormalization" : "LayerNormalization",
    [stream, ...weights],
    [node.outputs[0]],
    { attributes: { axis: -1, stash_type: 1, epsilon: { float: epsilonOf(node) } } },
  );
}

/** The same node, giving its outputs other names. */
function withOutputs(node: OnnxNode, outputs: readonly string[]): Uint8Array {
  const file: WireFile = { name: node.name, bytes: node.raw };
  const [field] = wireFields(file);
  const rest = [...messageFields(file, field)]
    .filter((part) => part.number !== 2)
    .map((part) => node.raw.subarray(part.start, part.end));
  return bytesField(1, [...rest, ...outputs.map((name) => textField(2, name))]);
}

/** The norm's epsilon; 1e-12 is what ONNX Runtime's fused operators take when it is not given. */
function epsilonOf(node: OnnxNode): number {
  const file: WireFile = { name: node.name, bytes: node.raw };
  for (const field of wireFields(file))
    for (const part of messageFields(file, field)) {
      if (part.number !== 5) continue;
      let name = "";
      let value: number | null = null;
      for (const item of messageFields(file, part)) {
        if (item.number === 1) name = fieldText(file, item);
        if (item.number === 2 && item.wireType === 5)
          value = new DataView(file.bytes.buffer, file.bytes.byteOffset + item.from, 4).getFloat32(0, true);
      }
      if (name === "epsilon" && value !== null) return value;
    }
  return 1e-12;
}
