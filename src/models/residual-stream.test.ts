import { describe, expect, it } from "vitest";
import { ModelError } from "../errors.ts";
import { parseOnnx } from "./onnx-model.ts";
import { ELEM, initializerField, modelBytes, nodeField, valueField } from "./onnx-write.ts";
import { findResidualStream } from "./residual-stream.ts";

const TABLE = initializerField("table", ELEM.float32, [5, 4], new Uint8Array(80));
const SCALAR = initializerField("scalar", ELEM.float32, [1], new Uint8Array(4));
const BIAS = initializerField("bias", ELEM.float32, [4], new Uint8Array(16));
const INPUT = valueField(11, "input_ids", ELEM.int64, ["b", "s"]);
const EMBED = nodeField("Gather", ["table", "input_ids"], ["h0"]);

/** `branch(h) + h`: one skip connection, its branch a single node. */
const skip = (from: string, to: string, name?: string) => [
  nodeField("Tanh", [from], [`${to}_branch`]),
  nodeField("Add", [from, `${to}_branch`], [to], { name }),
];
const find = (nodes: readonly Uint8Array[], nLayers: number | null) =>
  findResidualStream(parseOnnx(modelBytes([TABLE, SCALAR, BIAS, INPUT, ...nodes]), "m.onnx"), nLayers);
const tensors = (nodes: readonly Uint8Array[], nLayers: number | null) =>
  find(nodes, nLayers).layers.map((point) => point.tensor);

describe("following the stream", () => {
  it("counts skip connections when names tell nothing", () => {
    const nodes = [EMBED, ...["h1", "h2", "h3", "h4"].flatMap((to, i) => skip(`h${i}`, to))];
    expect(tensors(nodes, 2)).toEqual(["h2", "h4"]);
    expect(tensors(nodes, 4)).toEqual(["h1", "h2", "h3", "h4"]);
    expect(find(nodes, 2)).toMatchObject({ addsPerLayer: 2, numberedBy: "count", root: "h0" });
  });

  it("counts a factor as part of the layer before it", () => {
    const scaled = nodeField("Mul", ["h1", "scalar"], ["h1_scaled"]);
    const nodes = [EMBED, ...skip("h0", "h1"), scaled, ...skip("h1_scaled", "h2")];
    expect(tensors(nodes, 2)).toEqual(["h1_scaled", "h2"]);
  });

  it("steps over casts, quantisation in the graph, and a scaled, quantised embedding", () => {
    const nodes = [
      nodeField("Gather", ["table", "input_ids"], ["q"]),
      nodeField("DequantizeLinear", ["q", "scalar"], ["e"]),
      nodeField("Mul", ["e", "scalar"], ["h0"]),
      ...skip("h0", "h1"),
      nodeField("Cast", ["h1"], ["h1_wide"]),
      ...skip("h1_wide", "h2"),
    ];
    expect(tensors(nodes, 2)).toEqual(["h1", "h2"]);
  });

  it("takes neither a bias nor position embeddings for a skip connection", () => {
    const nodes = [
      EMBED,
      nodeField("Gather", ["table", "input_ids"], ["places"]),
      nodeField("Add", ["h0", "places"], ["hp"]),
      ...skip("hp", "h1"),
      nodeField("Add", ["h1", "bias"], ["biased"]),
      nodeField("Add", ["h1", "biased"], ["h2"]),
    ];
    expect(tensors(nodes, 2)).toEqual(["h1", "h2"]);
  });

  it("starts at inputs_embeds when embeddings come from another graph", () => {
    const nodes = [
      valueField(11, "inputs_embeds", ELEM.float32, ["b", "s", 4]),
      ...skip("inputs_embeds", "h1"),
    ];
    expect(find(nodes, 1)).toMatchObject({ root: "inputs_embeds", layers: [{ layer: 0, tensor: "h1" }] });
  });
});

describe("refusals say what was found", () => {
  const named = (names: readonly string[]) => [
    EMBED,
    ...names.flatMap((name, i) => skip(`h${i}`, `h${i + 1}`, name)),
  ];
  it.each([
    [
      "no embeddings",
      [nodeField("Neg", ["input_ids"], ["x"])],
      2,
      /no input_ids that reach an embedding table/,
    ],
    [
      "no skip",
      [EMBED, nodeField("Tanh", ["h0"], ["y"])],
      2,
      /nothing is added to the embeddings "h0"; they go to Tanh/,
    ],
    [
      "wrong count",
      named(["a", "b", "c"]),
      2,
      /3 skip connections from "h0" to "h3".*configuration says 2 layers/,
    ],
    [
      "fewer layers named",
      named(["/layers.0/Add", "/layers.0/Add_1"]),
      2,
      /named as layers 0 to 0, but counting gives other/,
    ],
    [
      "uneven layers",
      named(["/layers.0/A", "/layers.0/B", "/layers.0/C", "/layers.1/A"]),
      2,
      /counting gives other tensors/,
    ],
    ["neither names nor count", named(["a", "b"]), null, /cannot be numbered/],
  ])("%s", (_name, nodes, nLayers, message) => {
    expect(() => find(nodes, nLayers)).toThrow(ModelError);
    expect(() => find(nodes, nLayers)).toThrow(message);
  });

  it("a decoder inside an If gets the right advice", () => {
    const nodes = [
      EMBED,
      nodeField("If", ["h0"], ["y"], { attributes: { then_branch: { graph: skip("h0", "h1") } } }),
    ];
    expect(() => find(nodes, 1)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("inside an If node") }),
    );
  });

  it("a graph that runs in a circle ends", () => {
    const nodes = [EMBED, nodeField("Add", ["h0", "z"], ["x"]), nodeField("Mul", ["x", "scalar"], ["z"])];
    expect(() => find(nodes, 7)).toThrow(ModelError);
  });
});
