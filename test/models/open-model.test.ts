/** Opening and running a model: what is refused, and what the error says. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError, ModelError, ShapeError, StateError } from "../../src/errors.ts";
import { inspectModel } from "../../src/models/inspect.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import type { ResidualModel } from "../../src/models/residual-model.ts";
import { runtimeDevices } from "../../src/models/runtime.ts";
import { MINI, miniatureLlama } from "./miniature.ts";
import { seededBatch, temporaryFolder } from "./running.ts";

let dir = "";
let model: ResidualModel;
beforeAll(async () => {
  dir = await temporaryFolder();
  await miniatureLlama("torchscript").builder.write(join(dir, "model.onnx"));
  model = await openResidualModel(dir, { layers: [1, 0, 1], threads: 1 });
});
afterAll(() => model.close());

describe("opening", () => {
  it.each([[[3]], [[-1]], [[0.5]], [[0, 99]]])("layers %j: the error says the range", async (layers) => {
    await expect(openResidualModel(dir, { layers })).rejects.toThrow(
      /out of range: the model has 3 decoder layers, 0 to 2/,
    );
  });

  it("needs at least one layer", async () => {
    await expect(openResidualModel(dir, { layers: [] })).rejects.toThrow(/no layers/);
  });

  it("says that a folder is not there, or holds no model", async () => {
    await expect(openResidualModel(join(dir, "nowhere"), { layers: [0] })).rejects.toThrow(
      /no model folder at/,
    );
    await expect(openResidualModel(await temporaryFolder(), { layers: [0] })).rejects.toThrow(
      /no \.onnx file/,
    );
  });

  it("says that a configuration belongs to another model", async () => {
    const other = await temporaryFolder();
    await writeFile(join(other, "model.onnx"), await readFile(join(dir, "model.onnx")));
    await writeFile(join(other, "config.json"), JSON.stringify({ num_hidden_layers: 4, hidden_size: 32 }));
    await expect(openResidualModel(other, { layers: [0] })).rejects.toThrow(/configuration says 4 layers/);
    expect(await inspectModel(other)).toMatchObject({
      residual: null,
      problem: expect.stringMatching(/says 4 layers/),
    });
    await writeFile(join(other, "config.json"), JSON.stringify({ num_hidden_layers: 3, hidden_size: 48 }));
    await expect(openResidualModel(other, { layers: [0] })).rejects.toThrow(ShapeError);
  });

  it("says which file is damaged", async () => {
    const cut = await temporaryFolder();
    await writeFile(join(cut, "model.onnx"), (await readFile(join(dir, "model.onnx"))).subarray(0, 5000));
    await expect(openResidualModel(cut, { layers: [0] })).rejects.toThrow(FormatError);
    await expect(openResidualModel(cut, { layers: [0] })).rejects.toThrow(/model\.onnx/);
  });

  it("hands on what ONNX Runtime does not like, as our error", async () => {
    const bad = await temporaryFolder();
    const { builder } = miniatureLlama("torchscript");
    const bytes = Buffer.from(builder.build());
    const at = bytes.indexOf("Softmax");
    bytes.write("Softmin", at);
    await writeFile(join(bad, "model.onnx"), bytes);
    await expect(openResidualModel(bad, { layers: [0] })).rejects.toThrow(
      /ONNX Runtime cannot run model\.onnx: /,
    );
  });

  it("lists inputs that nobody knows how to feed", async () => {
    const odd = await temporaryFolder();
    const { builder } = miniatureLlama("torchscript");
    const bytes = Buffer.from(builder.build())
      .toString("latin1")
      .replaceAll("attention_mask", "attention_musk");
    await writeFile(join(odd, "model.onnx"), Buffer.from(bytes, "latin1"));
    await expect(openResidualModel(odd, { layers: [0] })).rejects.toThrow(
      /how to feed: attention_musk \(int64 \[batch_size/,
    );
  });

  it.each(["coreml", "dml", "cuda"] as const)(
    "device %s, where absent, is an error and never the CPU",
    async (device) => {
      const { devices } = await runtimeDevices();
      if (devices.some(({ name, bundled }) => name === device && bundled)) return;
      const opening = openResidualModel(dir, { layers: [0], device });
      await expect(opening).rejects.toThrow(ModelError);
      await expect(opening).rejects.toMatchObject({ hint: expect.stringContaining("--device cpu") });
    },
  );
});

describe("running", () => {
  it("gives layers ascending, once each, dIn from the graph", async () => {
    expect(model.layers).toEqual([0, 1]);
    expect(model.info).toMatchObject({ dIn: MINI.dIn, nLayers: 3, modelType: null, vocabSize: null });
    const batch = seededBatch([4, 2], MINI.vocab);
    const residuals = await model.run(batch);
    expect(residuals.map((layer) => layer.length)).toEqual([8 * MINI.dIn, 8 * MINI.dIn]);
  });

  it("a window's numbers do not depend on its padding", async () => {
    const alone = await model.run(seededBatch([5], MINI.vocab));
    const { tokenIds } = seededBatch([5], MINI.vocab);
    const padded = new Uint32Array(16);
    padded.set(tokenIds);
    padded.set(tokenIds.subarray(0, 3), 8);
    const together = await model.run({
      nWindows: 2,
      seqLen: 8,
      tokenIds: padded,
      lengths: Uint32Array.of(5, 3),
    });
    alone.forEach((layer, i) => {
      for (let at = 0; at < layer.length; at++) expect(together[i][at]).toBeCloseTo(layer[at], 5);
      for (let at = 0; at < 3 * MINI.dIn; at++)
        expect(together[i][8 * MINI.dIn + at], "the second window sees its own past only").toBeCloseTo(
          layer[at],
          5,
        );
    });
  });

  it("takes several batches at once, answers each with its own, and counts the seconds it ran", async () => {
    const batches = [[5], [3, 4], [2], [7, 1, 6]].map((lengths) => seededBatch(lengths, MINI.vocab));
    const alone = [];
    for (const batch of batches) alone.push(await model.run(batch));
    const before = model.runSeconds;
    const start = performance.now();
    const wrong = { nWindows: 1, seqLen: 2, tokenIds: Uint32Array.of(1, 5000), lengths: Uint32Array.of(2) };
    const asked = [...batches.slice(0, 2), wrong, ...batches.slice(2)].map((batch) => model.run(batch));
    const answers = await Promise.allSettled(asked);
    const wall = (performance.now() - start) / 1000;
    expect(answers.map(({ status }) => status)).toEqual(
      asked.map((_, i) => (i === 2 ? "rejected" : "fulfilled")),
    );
    const given = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    expect(given).toEqual(alone);
    expect(model.runSeconds).toBeGreaterThan(before);
    expect(model.runSeconds - before).toBeLessThan(wall);
  });

  it("takes a window of a single token", async () => {
    const batch = { nWindows: 2, seqLen: 1, tokenIds: Uint32Array.of(7, 9), lengths: Uint32Array.of(1, 1) };
    const single = await model.run(batch);
    const longer = await model.run({
      nWindows: 2,
      seqLen: 3,
      tokenIds: Uint32Array.of(7, 1, 2, 9, 3, 4),
      lengths: Uint32Array.of(3, 3),
    });
    single.forEach((layer, i) => {
      expect(layer.length).toBe(2 * MINI.dIn);
      for (let at = 0; at < MINI.dIn; at++) {
        expect(layer[at]).toBeCloseTo(longer[i][at], 5);
        expect(layer[MINI.dIn + at]).toBeCloseTo(longer[i][3 * MINI.dIn + at], 5);
      }
    });
  });

  it.each([
    ["too few ids", { nWindows: 2, seqLen: 3, tokenIds: new Uint32Array(5), lengths: Uint32Array.of(3, 3) }],
    ["a length of 0", { nWindows: 1, seqLen: 3, tokenIds: new Uint32Array(3), lengths: Uint32Array.of(0) }],
    [
      "a length beyond the window",
      { nWindows: 1, seqLen: 3, tokenIds: new Uint32Array(3), lengths: Uint32Array.of(4) },
    ],
    ["no windows", { nWindows: 0, seqLen: 3, tokenIds: new Uint32Array(0), lengths: new Uint32Array(0) }],
  ])("refuses %s", async (_name, batch) => {
    await expect(model.run(batch)).rejects.toThrow(ShapeError);
  });

  it("an id outside the table is an error, and the model goes on", async () => {
    const batch = { nWindows: 1, seqLen: 2, tokenIds: Uint32Array.of(1, 5000), lengths: Uint32Array.of(2) };
    await expect(model.run(batch)).rejects.toThrow(ModelError);
    expect((await model.run(seededBatch([2], MINI.vocab))).length).toBe(2);
  });

  it("after close, says that it is closed", async () => {
    const short = await openResidualModel(dir, { layers: [0], threads: 1 });
    const running = expect(short.run(seededBatch([2], MINI.vocab))).rejects.toThrow(StateError);
    await short.close();
    await running;
    await expect(short.run(seededBatch([2], MINI.vocab))).rejects.toThrow(StateError);
  });
});
