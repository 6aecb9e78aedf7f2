/**
 * The toy language model of the SAELens goldens, as an ONNX graph: logits = (h + relu(h M)) U with
 * h_t = E[token_t] + ½ E[token_{t−1}], nothing before position 0. It has no layers that could be numbered: the tensor of h is
 * named by hand.
 */
import { ELEM } from "../../src/models/onnx-write.ts";
import { GraphBuilder } from "./miniature.ts";

export interface ToyWeights {
  /** [vocab, dIn] */
  readonly E: Float32Array;
  /** [dIn, dIn] */
  readonly M: Float32Array;
  /** [dIn, vocab] */
  readonly U: Float32Array;
}

/** Name of the tensor that holds h [batch, sequence, dIn]. */
export const TOY_STREAM = "h";

export function toyModel({ E, M, U }: ToyWeights, dIn: number, vocab: number): GraphBuilder {
  const g = new GraphBuilder();
  g.input("input_ids", ELEM.int64, ["batch", "sequence"]);
  const embedded = g.node("Gather", [g.floats("E", [vocab, dIn], E), "input_ids"]);
  const shifted = g.node("Pad", [embedded, g.ints(0, 1, 0, 0, -1, 0)]);
  g.node("Add", [embedded, g.node("Mul", [shifted, g.scalar(0.5)])], { output: TOY_STREAM });
  const inner = g.node("Relu", [g.node("MatMul", [TOY_STREAM, g.floats("M", [dIn, dIn], M)])]);
  const final = g.node("Add", [TOY_STREAM, inner]);
  g.node("MatMul", [final, g.floats("U", [dIn, vocab], U)], { output: "logits" });
  g.output("logits", ELEM.float32, ["batch", "sequence", vocab]);
  return g;
}
