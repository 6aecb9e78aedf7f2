/** Tensors over several files: read as from one, and refused where index and files differ. Files larger than 4 GiB. */
import { copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";
import { openTensorFile } from "./sharded-safetensors.ts";

const scratch = await mkdtemp(join(tmpdir(), "sharded-"));
afterAll(() => rm(scratch, { recursive: true }));

let folder = "";
const index = () => join(folder, "model.safetensors.index.json");
const [ONE, TWO] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const MAP = { x: ONE, ids: TWO, y: TWO };

beforeEach(async () => {
  folder = await mkdtemp(join(scratch, "case-"));
  await writeSafetensors(join(folder, ONE), [
    { name: "x", dtype: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  ]);
  await writeSafetensors(join(folder, TWO), [
    { name: "ids", dtype: "I64", shape: [2], data: BigInt64Array.of(7n, 8n) },
    { name: "y", dtype: "BF16", shape: [1, 2], data: Uint16Array.of(0x3f80, 0xc000) },
  ]);
  await say(MAP);
});

function say(map: unknown, totalSize = 44): Promise<void> {
  return writeFile(index(), JSON.stringify({ metadata: { total_size: totalSize }, weight_map: map }));
}

it("tensors of all shards, by rows, columns, whole and as numbers", async () => {
  const file = await openTensorFile(index());
  expect([...file.tensors.keys()].sort()).toEqual(["ids", "x", "y"]);
  expect([...(await file.rows("x", 1, 2))]).toEqual([4, 5, 6]);
  expect([...(await file.columns("x", 1, 3))]).toEqual([2, 5, 3, 6]);
  expect([...(await file.whole("y"))]).toEqual([1, -2]);
  expect(await file.numbers("ids")).toEqual([7, 8]);
  await expect(file.whole("z")).rejects.toThrow(/no tensor "z"/);
  await file.close();
  await expect(file.rows("x", 0, 1)).rejects.toThrow();
});

it.each<[string, () => Promise<unknown>, RegExp]>([
  ["a shard that is not there", () => rm(join(folder, TWO)), /00002-of.*no such file/],
  ["a tensor that no shard has", () => say({ ...MAP, z: ONE }), /no tensor "z", which the index has here/],
  ["a tensor in another shard", () => say({ ...MAP, y: ONE }), /"y" belongs into model-00001/],
  ["a tensor that the index leaves out", () => say({ x: ONE, ids: TWO }), /"y" is not in .*index\.json/],
  [
    "two shards with one name",
    () => copyFile(join(folder, ONE), join(folder, TWO)),
    /"x" lies in another shard/,
  ],
  ["a total above the sum", () => say(MAP, 45), /total_size is 45, the shards hold 44/],
  [
    "a shard in another folder",
    () => say({ ...MAP, x: `../${ONE}` }),
    /a \.safetensors file in the same folder/,
  ],
  ["a shard of no name", () => say({ ...MAP, x: 3 }), /"x" lies in 3/],
  ["no shards", () => say({}), /0 shards/],
  ["no map", () => say([]), /no "weight_map"/],
])("refuses %s", async (_what, damage, message) => {
  await damage();
  await expect(openTensorFile(index())).rejects.toThrow(FormatError);
  await expect(openTensorFile(index())).rejects.toThrow(message);
});

it("an SAE in shards is read by mapping", async () => {
  const { loadSae } = await import("../sae/load.ts");
  const cases = new URL("../../test/fixtures/foreign/saes/mapping-jumprelu/", import.meta.url);
  const whole = join(folder, "whole");
  await mkdir(whole);
  const mapping = JSON.parse(await readFile(new URL("layer2.mapping.json", cases), "utf8"));
  const file = await openTensorFile(new URL(mapping.file, cases).pathname);
  const map: Record<string, string> = {};
  for (const [i, [name, { shape }]] of [...file.tensors].entries()) {
    map[name] = `part-${i}.safetensors`;
    await writeSafetensors(join(whole, map[name]), [
      { name, dtype: "F32", shape, data: await file.whole(name) },
    ]);
  }
  await file.close();
  await writeFile(join(whole, "a.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  await writeFile(
    join(whole, "a.mapping.json"),
    JSON.stringify({ ...mapping, file: "a.safetensors.index.json" }),
  );
  const there = await loadSae(join(whole, "a.mapping.json"));
  const here = await loadSae(new URL("layer2.mapping.json", cases).pathname);
  expect(there.weights).toEqual(here.weights);
  expect(there.threshold).toEqual(here.threshold);
});

it("a tensor of more than 4 GiB is read by position, rows and columns, at its end", async () => {
  const [nRows, width] = [2 ** 21 + 3, 640];
  const bytes = nRows * width * 4; // 5 GiB, of which the disk holds a few pages
  const path = join(folder, "large.safetensors");
  const header = JSON.stringify({ w: { dtype: "F32", shape: [nRows, width], data_offsets: [0, bytes] } });
  const start = Buffer.alloc(8 + header.length);
  start.writeBigUInt64LE(BigInt(header.length));
  start.write(header, 8);
  const file = await open(path, "w");
  await file.write(start, 0, start.length, 0);
  await file.truncate(start.length + bytes);
  const last = Float32Array.from({ length: width }, (_, i) => i + 1);
  const lastAt = start.length + bytes - width * 4;
  await file.write(new Uint8Array(last.buffer), 0, width * 4, lastAt);
  await file.close();
  const tensors = await openSafetensors(path);
  expect(tensors.tensors.get("w")?.end).toBeGreaterThan(2 ** 32);
  expect(await tensors.readRows("w", nRows - 1, nRows)).toEqual(last);
  expect((await tensors.readRows("w", nRows - 2, nRows)).subarray(0, width)).toEqual(new Float32Array(width));
  await tensors.close();
});
