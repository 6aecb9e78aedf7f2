/**
 * The toy language model of the SAELens goldens, as an ONNX graph: logits = (h + relu(h M)) U with
 * h_t = E[token_t] + ½ E[token_{t−1}], nothing before position 0. It has no layers that could be numbered: the tensor of h is
 * named by hand. Its end can be spelled in several ways.
 */
import { ELEM } from "../../src/models/onnx-write.ts";
import { Philox } from "../../src/random/philox.ts";
import { GraphBuilder } from "./miniature.ts";

export interface ToyWeights {
  /** [vocab, dIn] */
  readonly E: Float32Array;
  /** [dIn, dIn] */
  readonly M: Float32Array;
  /** [dIn, vocab] */
  readonly U: Float32Array;
}

/**
 * How the logits are made: a product; of two dimensions between reshapes; of rows quantised dynamically; a product under a
 * soft cap with a bias; the same of the last `num_logits_to_keep` positions, 0 for all; and ends that cannot be cut off: two
 * products, log-probabilities, the last position only, and a product of h itself.
 */
export type ToyEnd =
  | "product"
  | "gemm"
  | "quantised"
  | "soft cap"
  | "kept positions"
  | "two products"
  | "log-softmax"
  | "last position"
  | "stream itself";

/** Name of the tensor that holds h [batch, sequence, dIn]. */
export const TOY_STREAM = "h";

export function toyModel(
  weights: ToyWeights,
  dIn: number,
  vocab: number,
  end: ToyEnd = "product",
): GraphBuilder {
  const { E, M, U } = weights;
  const g = new GraphBuilder();
  g.input("input_ids", ELEM.int64, ["batch", "sequence"]);
  const embedded = g.node("Gather", [g.floats("E", [vocab, dIn], E), "input_ids"]);
  const shifted = g.node("Pad", [embedded, g.ints(0, 1, 0, 0, -1, 0)]);
  g.node("Add", [embedded, g.node("Mul", [shifted, g.scalar(0.5)])], { output: TOY_STREAM });
  const inner = g.node("Relu", [g.node("MatMul", [TOY_STREAM, g.floats("M", [dIn, dIn], M)])]);
  const final = g.node("Add", [TOY_STREAM, inner]);
  const u = g.floats("U", [dIn, vocab], U);
  const output = "logits";
  if (end === "stream itself") g.node("MatMul", [TOY_STREAM, u], { output });
  else if (end === "product") g.node("MatMul", [final, u], { output });
  else if (end === "gemm") {
    const flat = g.node("Reshape", [final, g.ints(-1, dIn)]);
    const lead = g.node("Slice", [g.node("Shape", [final]), g.ints(0), g.ints(2)]);
    const shape = g.node("Concat", [lead, g.ints(vocab)], { attributes: { axis: 0 } });
    g.node("Reshape", [g.node("Gemm", [flat, u]), shape], { output });
  } else if (end === "quantised") quantised(g, final, U, dIn, vocab);
  else if (end === "soft cap") {
    const bias = g.weight("bias", [vocab], 0.5);
    const raw = g.node("Add", [g.node("MatMul", [final, u]), bias]);
    const capped = g.node("Tanh", [g.node("Div", [raw, g.scalar(6)])]);
    g.node("Mul", [capped, g.scalar(6)], { output });
  } else if (end === "kept positions" || end === "last position") {
    if (end === "kept positions") g.input("num_logits_to_keep", ELEM.int64, []);
    const count =
      end === "last position" ? g.ints(1) : g.node("Unsqueeze", ["num_logits_to_keep", g.ints(0)]);
    const from = g.node("Neg", [count]);
    const some = g.node("Slice", [final, from, g.ints(Number.MAX_SAFE_INTEGER), g.ints(1)]);
    g.node("MatMul", [some, u], { output });
  } else if (end === "two products")
    g.node("Add", [g.node("MatMul", [TOY_STREAM, u]), g.node("MatMul", [inner, u])], { output });
  else g.node("LogSoftmax", [g.node("MatMul", [final, u])], { output, attributes: { axis: -1 } });
  g.output(output, ELEM.float32, ["batch", end === "last position" ? 1 : "sequence", vocab]);
  return g;
}

/** U in int8 with one scale, the rows quantised as they come. */
function quantised(g: GraphBuilder, final: string, U: Float32Array, dIn: number, vocab: number): void {
  const scale = Math.max(...U.map(Math.abs)) / 127;
  const rounded = U.map((value) => Math.round(value / scale));
  const int8 = g.node("Cast", [g.floats("U_rounded", [dIn, vocab], rounded)], {
    attributes: { to: ELEM.int8 },
  });
  g.node("DynamicQuantizeLinear", [final], { outputs: ["rows", "rows_scale", "rows_zero"] });
  const product = g.node("MatMulInteger", ["rows", int8, "rows_zero"]);
  const scaled = g.node("Mul", ["rows_scale", g.floats("U_scale", [], Float32Array.of(scale))]);
  const numbers = g.node("Cast", [product], { attributes: { to: ELEM.float32 } });
  g.node("Mul", [numbers, scaled], { output: "logits" });
}

/** Seeded weights. */
export function toyWeights(dIn: number, vocab: number): ToyWeights {
  const seeded = (name: string, n: number, scale: number) => {
    const random = new Philox(5, name);
    return Float32Array.from({ length: n }, (_, i) => scale * random.normal(i));
  };
  return {
    E: seeded("E", vocab * dIn, 1),
    M: seeded("M", dIn * dIn, 1 / Math.sqrt(dIn)),
    U: seeded("U", dIn * vocab, 0.5),
  };
}
