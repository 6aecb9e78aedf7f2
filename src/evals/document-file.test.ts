/** Sums of documents through a file: the same metrics and intervals; and files that are refused. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  D_IN,
  differencesOf,
  normals,
  reconstructor,
  rowsFor,
  shrunk,
  valuesOf,
} from "../../test/evals/fixtures.ts";
import { FormatError } from "../errors.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { metricIntervals, pairedDifferences } from "./bootstrap.ts";
import { loadDocumentSums, saveDocumentSums } from "./document-file.ts";
import { evaluateRows } from "./evaluate.ts";
import { QUANTITIES, total } from "./token-sums.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-documents-"));
});
afterAll(() => rm(dir, { recursive: true }));

const evaluation = (purpose: string) => {
  const document = Uint32Array.from({ length: 60 }, (_, t) => Math.floor(t / 7) * 11);
  return evaluateRows(reconstructor(shrunk), { ...rowsFor(normals(60 * D_IN, purpose, 3)), document });
};

it("what was saved gives the same metrics, intervals and differences", async () => {
  const [prose, chat] = [await evaluation("prose"), await evaluation("chat")];
  const path = join(dir, "documents.safetensors");
  await saveDocumentSums(path, { "model/prose": prose.documents, "model/chat": chat.documents });
  const loaded = await loadDocumentSums(path);
  expect([...loaded.keys()]).toEqual(["model/prose", "model/chat"]);
  const parts = loaded.get("model/chat")!;
  expect(parts.map(([number]) => number)).toEqual(Array.from({ length: 9 }, (_, i) => i * 11));
  const whole = total(
    parts.map(([, part]) => part),
    parts[0][1].origin,
  );
  const recorded = Object.fromEntries(
    Object.entries(chat.result.metrics).map(([name, { value }]) => [name, value]),
  );
  expect(differencesOf(valuesOf(whole), recorded, 1e-12)).toEqual([]);
  const { low, high } = metricIntervals(parts, 0).ve!;
  expect(low).toBeCloseTo(chat.result.metrics.ve.interval!.low, 12);
  expect(high).toBeCloseTo(chat.result.metrics.ve.interval!.high, 12);
  expect(pairedDifferences(parts, chat.documents.blocks(), 0).mse.difference).toBeCloseTo(0, 12);
});

const F64 = (name: string, shape: number[]) => ({
  name,
  dtype: "F64" as const,
  shape,
  data: new Float64Array(shape.reduce((a, b) => a * b, 1)),
});
const metadata = { format: "lapidary-documents", version: "1", quantities: QUANTITIES.join(" ") };
const number = { name: "s/number", dtype: "U32" as const, shape: [2], data: Uint32Array.of(1, 2) };

it.each([
  ["another format", [number], { ...metadata, format: "other" }, /format is "other"/],
  ["other quantities", [number], { ...metadata, quantities: "n" }, /quantities/],
  ["a set without an origin", [number], metadata, /2 documents of 0 dimensions/],
  [
    "a tensor of another shape",
    [number, F64("s/origin", [3]), F64("s/sums", [2, 1])],
    metadata,
    /s\/sums.*expected F64 \[2, 15\]/,
  ],
  [
    "a number that is not finite",
    [
      number,
      F64("s/origin", [3]),
      F64("s/sums", [2, 15]),
      { ...F64("s/y", [2, 3]), data: new Float64Array(6).fill(Number.NaN) },
    ],
    metadata,
    /s\/y.*not finite/,
  ],
])("refuses %s", async (name, tensors, header, message) => {
  const path = join(dir, `${name}.safetensors`);
  await writeSafetensors(path, tensors, header);
  await expect(loadDocumentSums(path)).rejects.toThrow(FormatError);
  await expect(loadDocumentSums(path)).rejects.toThrow(message);
});
