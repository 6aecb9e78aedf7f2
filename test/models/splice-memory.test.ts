/** What splicing is said to take, before it is taken: weights a piece, streams a token, logits within their bytes. */
import { describe, expect, it } from "vitest";
import { readModelFolder } from "../../src/models/model-files.ts";
import { planLogits, spliceMemory } from "../../src/models/spliced-memory.ts";
import { type ModelPieces, modelPieces } from "../../src/models/spliced-pieces.ts";

const MiB = 1 << 20;

async function piecesOf(
  name: string,
  layers: readonly number[],
): Promise<{ pieces: ModelPieces; file: number }> {
  const folder = await readModelFolder(`assets/tiny-gemma/${name}`);
  return { pieces: modelPieces(folder, { layers }), file: folder.decoder.bytes };
}

function bytesOf(
  pieces: ModelPieces,
  work: { batchTokens: number; contextSize?: number; nRuns?: number; logits?: number },
) {
  const plan = spliceMemory(pieces, {
    dIn: 256,
    contextSize: 256,
    nRuns: 3,
    keptClean: 600,
    keptPerRun: 256,
    ...work,
    logits: planLogits(pieces, 4096, work.logits),
  });
  expect(plan.total).toBe(plan.parts.reduce((sum, { bytes }) => sum + bytes, 0));
  return Object.fromEntries(plan.parts.map(({ name, bytes }) => [name, bytes]));
}

describe("the plan of a spliced model", () => {
  it("counts the weights of every piece, the tied embedding twice, as stored and as laid out", async () => {
    const { pieces, file } = await piecesOf("it", [2, 4]);
    expect(pieces.body.length).toBe(3);
    const model = bytesOf(pieces, { batchTokens: 1 }).model;
    const embedding = 4096 * 256 * 2; // half precision
    expect(model).toBeGreaterThan(2 * (0.9 * file + embedding));
    expect(model).toBeLessThan(2 * (file + embedding));
  });

  it("counts an int8 unembedding in float32", async () => {
    const { pieces } = await piecesOf("it-int8", [4]);
    expect(pieces.final.dequantizedBytes).toBe(4096 * 256 * 4);
    const stored = [...pieces.body, pieces.final].reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    expect(bytesOf(pieces, { batchTokens: 1 }).model).toBe(2 * stored + 4096 * 256 * 4);
  });

  it("keeps logits within their bytes, whatever the batch; streams grow with the batch and the runs", async () => {
    const { pieces } = await piecesOf("it", [4]);
    for (const logits of [MiB, 16 * MiB, 256 * MiB])
      for (const batchTokens of [16, 2048, 100_000])
        expect(bytesOf(pieces, { batchTokens, logits }).logits).toBeLessThanOrEqual(logits);
    const [one, two] = [bytesOf(pieces, { batchTokens: 1000 }), bytesOf(pieces, { batchTokens: 2000 })];
    for (const name of ["kept streams", "streams handed over", "layers at work"])
      expect(two[name]).toBe(2 * one[name]);
    const more = bytesOf(pieces, { batchTokens: 1000, nRuns: 4 });
    expect(more["kept streams"] - one["kept streams"]).toBe(4 * 1000 * 256);
    const longer = bytesOf(pieces, { batchTokens: 1000, contextSize: 4096 });
    expect(longer["layers at work"]).toBeGreaterThan(2 * one["layers at work"]);
  });

  it("takes the largest vocabulary where none is stated, and two tokens at least", () => {
    const pieces = { rowwise: "hidden", problem: null };
    expect(planLogits(pieces, null, MiB)).toMatchObject({ chunkTokens: 2, vocabSize: null });
    expect(planLogits(pieces, null, 28 * 262_144 * 10).chunkTokens).toBe(10);
    expect(planLogits({ rowwise: null, problem: "so" }, 1000, 28_000 * 7)).toEqual({
      vocabSize: 1000,
      chunkTokens: null,
      maxBatchTokens: 7,
      problem: "logits are computed of whole windows at a time: so",
    });
  });
});
