/** Archives that are written, read again: by our own reader, with and without zip64. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { NpzFile } from "./npy.ts";
import { writeNpz } from "./npz-writer.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { ZipFile } from "./zip.ts";
import { writeZip } from "./zip-writer.ts";

const folder = await mkdtemp(join(tmpdir(), "npz-"));
afterAll(() => rm(folder, { recursive: true }));

const x = Float32Array.of(1, -0, 1e-42, 3e38, 0.1, -2);
const ARRAYS: TensorToWrite[] = [
  {
    name: "x",
    dtype: "F32",
    shape: [2, 3],
    data: async function* () {
      yield x.subarray(0, 4);
      yield x.subarray(4);
    },
  },
  { name: "ids", dtype: "I64", shape: [2], data: BigInt64Array.of(1n, -(2n ** 60n)) },
  { name: "one", dtype: "F64", shape: [], data: Float64Array.of(Math.PI) },
];

it("arrays come back bit for bit, those in pieces too, and equal arrays give equal files", async () => {
  const [a, b] = [join(folder, "a.npz"), join(folder, "b.npz")];
  const written = await writeNpz(a, ARRAYS);
  expect(await writeNpz(b, ARRAYS)).toEqual(written);
  expect(await readFile(b)).toEqual(await readFile(a));
  expect(written.bytes).toBe((await readFile(a)).length);
  const file = await NpzFile.open(a);
  expect(new Uint32Array((await file.read("x")).buffer)).toEqual(new Uint32Array(x.buffer));
  expect([...file.arrays].map(([name, { shape, dtype }]) => [name, shape, dtype])).toEqual([
    ["x", [2, 3], "F32"],
    ["ids", [2], "I64"],
    ["one", [], "F64"],
  ]);
  expect(await file.read("ids")).toEqual(BigInt64Array.of(1n, -(2n ** 60n)));
  expect(await file.read("one")).toEqual(Float64Array.of(Math.PI));
  await file.close();
});

it.each([0, 10, 90])("zip64 from %i bytes on: entries are found and whole", async (largeFrom) => {
  const path = join(folder, `large-${largeFrom}.zip`);
  const texts = ["first", "the second entry", ""].map((text) => new TextEncoder().encode(text));
  await writeZip(
    path,
    texts.map((bytes, i) => ({ name: `entry ${i}`, bytes: bytes.length, pieces: () => [bytes] })),
    { largeFrom },
  );
  const zip = await ZipFile.open(path);
  for (const [i, text] of texts.entries()) {
    expect(await zip.read(`entry ${i}`, { maxBytes: 100 })).toEqual(text);
    await zip.check(`entry ${i}`);
  }
  await zip.close();
});

it("nothing is left of an archive whose pieces are too short, or of a type that NumPy lacks", async () => {
  const short = [{ ...ARRAYS[0], shape: [3, 3] }];
  await expect(writeNpz(join(folder, "short.npz"), short)).rejects.toThrow(/bytes of "x.npy"/);
  const bf16 = { name: "b", dtype: "BF16", shape: [1], data: Uint16Array.of(1) } as const;
  await expect(writeNpz(join(folder, "bf16.npz"), [bf16])).rejects.toThrow(/BF16/);
  expect((await readdir(folder)).filter((name) => /short|bf16/.test(name))).toEqual([]);
});
