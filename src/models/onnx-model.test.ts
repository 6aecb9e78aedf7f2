import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { cutModel } from "./onnx-cut.ts";
import { type OnnxModel, parseOnnx } from "./onnx-model.ts";
import { ELEM, initializerField, modelBytes, nodeField, tensorMessage, valueField } from "./onnx-write.ts";
import { bytesField, concatBytes, intField, textField } from "./protobuf.ts";

const GRAPH = [
  valueField(11, "x", ELEM.float32, ["n", 4, null]),
  nodeField("Relu", ["x"], ["y"], { name: "relu", metadata: { namespace: "model.layers.3" } }),
  nodeField("Add", ["y", "w"], ["z"]),
  initializerField("w", ELEM.float32, [4], new Uint8Array(16)),
  valueField(12, "z", ELEM.float32, ["n", 4]),
];
const parse = (bytes: Uint8Array): OnnxModel => parseOnnx(bytes, "m.onnx");

it("reads what a graph is made of", () => {
  const model = parse(modelBytes(GRAPH, { producer: "someone", opset: 17 }));
  expect(model.producer).toBe("someone");
  expect(model.opsets).toEqual(
    new Map([
      ["", 17],
      ["com.microsoft", 1],
    ]),
  );
  expect(model.nodes.map(({ op, inputs, outputs }) => [op, inputs, outputs])).toEqual([
    ["Relu", ["x"], ["y"]],
    ["Add", ["y", "w"], ["z"]],
  ]);
  expect(model.nodes[0].metadata.get("namespace")).toBe("model.layers.3");
  expect(model.inputs[0]).toMatchObject({ name: "x", elemType: 1, shape: ["n", 4, null] });
  expect(model.initializers.get("w")).toMatchObject({ dims: [4], elemType: 1, external: null });
  expect(model.producerOf.get("z")?.op).toBe("Add");
  expect(model.consumersOf.get("y")?.map((node) => node.op)).toEqual(["Add"]);
});

it("merges a graph that comes in several pieces, as protobuf does", () => {
  const more = bytesField(7, [nodeField("Neg", ["z"], ["minus"]), valueField(12, "minus")]);
  const model = parse(concatBytes([modelBytes(GRAPH), more]));
  expect(model.nodes.map((node) => node.op)).toEqual(["Relu", "Add", "Neg"]);
  expect(model.outputs.map((output) => output.name)).toEqual(["z", "minus"]);
});

it("keeps what it does not know, byte for byte", () => {
  const unknown = textField(4000, "from the future");
  const odd = concatBytes([nodeField("Relu", ["x"], ["y"])]);
  const withUnknown = bytesField(1, [odd.subarray(2), unknown]);
  const graph = [withUnknown, ...GRAPH.slice(2), GRAPH[0], unknown];
  const bytes = concatBytes([modelBytes(graph), unknown]);
  const cut = cutModel(parse(bytes), { outputs: [{ name: "z" }] });
  const count = Buffer.from(cut).toString("latin1").split("from the future").length - 1;
  expect(count, "in the node, the graph and the model").toBe(3);
});

it("keeps of a cut only what its outputs need", () => {
  const bytes = modelBytes([
    ...GRAPH,
    nodeField("MatMul", ["z", "big"], ["logits"]),
    initializerField("big", ELEM.float32, [4, 1000], new Uint8Array(16000)),
  ]);
  const model = parse(cutModel(parse(bytes), { outputs: [{ name: "z" }] }));
  expect([...model.initializers.keys()]).toEqual(["w"]);
  expect(model.nodes.map((node) => node.op)).toEqual(["Relu", "Add"]);
});

it("counts what a subgraph mentions as inputs of its node", () => {
  const branch = [nodeField("Add", ["outer", "z"], ["inner"]), valueField(12, "inner")];
  const bytes = modelBytes([
    ...GRAPH,
    nodeField("Neg", ["x"], ["outer"]),
    nodeField("If", ["condition"], ["chosen"], { attributes: { then_branch: { graph: branch } } }),
    valueField(11, "condition", ELEM.bool, []),
  ]);
  const model = parse(bytes);
  expect(model.nodes.find((node) => node.op === "If")?.implicitInputs).toEqual(["outer", "z", "inner"]);
  const cut = parse(cutModel(model, { outputs: [{ name: "chosen" }] }));
  expect(cut.nodes.map((node) => node.op)).toEqual(["Relu", "Add", "Neg", "If"]);
});

describe("external data", () => {
  const withLocation = (location: string) =>
    modelBytes([...GRAPH, initializerField("e", 1, [4], { location, offset: 64, length: 16 })]);

  it("is read as a reference", () => {
    const model = parse(withLocation("sub/model.onnx_data"));
    expect(model.external).toEqual([{ location: "sub/model.onnx_data", offset: 64, length: 16 }]);
  });

  it.each(["/etc/passwd", "../other", "a/../../b", "..", "C:\\weights", "a\\b", "c:d", ""])(
    "at %j is refused",
    (location) => {
      expect(() => parse(withLocation(location))).toThrow(FormatError);
      expect(() => parse(withLocation(location))).toThrow(/no path inside the model's folder/);
    },
  );

  it("is refused wherever a tensor can be: in attributes, subgraphs and functions", () => {
    const bad = tensorMessage("t", 1, [4], { location: "../x" });
    const constant = nodeField("Constant", [], ["c"], { attributes: { value: { tensor: bad } } });
    const nested = nodeField("If", ["x"], ["i"], { attributes: { then_branch: { graph: [constant] } } });
    const inFunction = concatBytes([
      modelBytes(GRAPH),
      bytesField(25, [textField(1, "f"), bytesField(7, [constant.subarray(2)])]),
    ]);
    for (const bytes of [modelBytes([...GRAPH, constant]), modelBytes([...GRAPH, nested]), inFunction])
      expect(() => parse(bytes)).toThrow(/no path inside/);
  });
});

describe("damaged files", () => {
  it("cut short anywhere give a FormatError", () => {
    const bytes = modelBytes(GRAPH);
    const domains = 2; // the last operator set version is the file's last field
    for (let length = 0; length < bytes.length; length++) {
      let parsed: OnnxModel | undefined;
      try {
        parsed = parse(bytes.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        continue;
      }
      // Only where a whole field ends can the rest be missed, and then the graph is whole.
      expect(parsed.opsets.size).toBe(domains - 1);
      expect(parsed.nodes.length).toBe(2);
    }
  });

  it("a real model cut short gives a FormatError", () => {
    const bytes = readFileSync("assets/tiny-gemma/it/model.onnx");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length - 64 }), (length) => {
        expect(() => parse(bytes.subarray(0, length))).toThrow(FormatError);
      }),
      { numRuns: 40, seed: 5 },
    );
  });

  it("with bytes changed are read or refused, and never anything else", () => {
    const bytes = modelBytes(GRAPH);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: bytes.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, value) => {
          const changed = bytes.slice();
          changed[at] = value;
          try {
            parse(changed);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
          }
        },
      ),
      { numRuns: 500, seed: 6 },
    );
  });

  it.each([
    ["no graph", concatBytes([intField(1, 8)]), /no graph/],
    [
      "a tensor produced twice",
      modelBytes([...GRAPH, nodeField("Neg", ["x"], ["y"])]),
      /"y" is produced twice/,
    ],
    ["text", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /./],
    ["a number without end", new Uint8Array(30).fill(0xff), /more than ten bytes/],
    ["a length beyond the file", Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0x7f), /needs .* bytes more/],
  ])("%s", (_name, bytes, message) => {
    expect(() => parse(bytes)).toThrow(FormatError);
    expect(() => parse(bytes)).toThrow(message);
  });

  it("nested too deep are refused before the stack ends", () => {
    let graph: Uint8Array[] = [nodeField("Neg", ["x"], ["n"])];
    for (let i = 0; i < 60; i++)
      graph = [nodeField("If", ["c"], ["n"], { attributes: { then_branch: { graph } } })];
    expect(() => parse(modelBytes(graph))).toThrow(/nested more than/);
  });
});
