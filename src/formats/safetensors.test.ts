import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { hashFile } from "../storage/hash.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-safetensors-"));
});
afterAll(() => rm(dir, { recursive: true }));

/** A file with the given header text and data bytes. */
async function handMade(header: string, data: number): Promise<string> {
  const path = join(dir, "hand-made.safetensors");
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  await writeFile(path, bytes);
  return path;
}

describe("safetensors", () => {
  it("gives back what was written, whole or by rows, and the hash of the file", async () => {
    const path = join(dir, "round-trip.safetensors");
    const a = Float32Array.from({ length: 12 }, (_, i) => i / 7);
    const { sha256, bytes } = await writeSafetensors(
      path,
      [
        { name: "a", dtype: "F32", shape: [4, 3], data: a },
        { name: "b", dtype: "BF16", shape: [2], data: Uint16Array.of(0x3f80, 0xc000) },
        {
          name: "c",
          dtype: "U32",
          shape: [3],
          data: async function* () {
            yield Uint32Array.of(1, 2);
            yield Uint32Array.of(3);
          },
        },
        { name: "scalar", dtype: "F64", shape: [], data: Float64Array.of(0.1) },
      ],
      { note: "test" },
    );
    expect(await hashFile(path)).toBe(sha256);
    expect((await readFile(path)).length).toBe(bytes);
    const file = await openSafetensors(path);
    expect(file.metadata).toEqual({ note: "test" });
    expect(await file.read("a")).toEqual(a);
    expect(await file.readRows("a", 1, 3)).toEqual(a.slice(3, 9));
    expect(await file.readF32("b")).toEqual(Float32Array.of(1, -2));
    expect(await file.read("c")).toEqual(Uint32Array.of(1, 2, 3));
    expect(await file.read("scalar")).toEqual(Float64Array.of(0.1));
    await expect(file.read("d")).rejects.toThrow('no tensor "d"; it holds a, b, c, scalar');
    await file.close();
  });

  it("leaves no file when the pieces do not add up to the shape", async () => {
    const path = join(dir, "short.safetensors");
    const write = writeSafetensors(path, [
      { name: "a", dtype: "F32", shape: [4], data: new Float32Array(3) },
    ]);
    await expect(write).rejects.toThrow('bytes of tensor "a": got 12, expected 16');
    await expect(openSafetensors(path)).rejects.toThrow("no such file");
  });

  it.each([
    [
      "overlap",
      '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
      6,
      "overlaps",
    ],
    [
      "gap",
      '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}',
      6,
      "gap",
    ],
    ["beyond the file", '{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', 6, "tensors end at byte"],
    ["bytes left over", '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}', 6, "tensors end at byte"],
    ["wrong length", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,6]}}', 6, "needs 8 bytes"],
    ["unknown dtype", '{"a":{"dtype":"F8","shape":[2],"data_offsets":[0,2]}}', 2, "dtype"],
    ["negative shape", '{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}', 2, "shape"],
    [
      "duplicate name",
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      1,
      "twice",
    ],
    [
      "duplicate name, far from its colon",
      `{"a"${" ".repeat(40)}:{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
      1,
      '"a" twice',
    ],
    [
      "duplicate key of a tensor",
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"dtype":"I32"}}',
      4,
      '"dtype" twice',
    ],
    ["not JSON", "{", 0, "not JSON"],
    ["an array", "[]", 0, "not a JSON object"],
  ])("refuses a header with %s", async (_what, header, data, message) => {
    await expect(openSafetensors(await handMade(header, data))).rejects.toThrow(message);
  });

  it("refuses a header length beyond the file without allocating it", async () => {
    const path = join(dir, "huge.safetensors");
    await writeFile(path, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1));
    await expect(openSafetensors(path)).rejects.toThrow(/header says \d+ bytes/);
  });

  it("answers any truncation or flipped header byte with a FormatError or a readable file, never anything else", async () => {
    const path = join(dir, "whole.safetensors");
    await writeSafetensors(path, [{ name: "a", dtype: "F32", shape: [3, 2], data: new Float32Array(6) }], {
      k: "v",
    });
    const whole = await readFile(path);
    const broken = join(dir, "broken.safetensors");
    await fc.assert(
      fc.asyncProperty(
        fc.nat(whole.length - 1),
        fc.nat(whole.length - 1),
        fc.nat(255),
        async (cut, at, byte) => {
          const bytes = Uint8Array.from(whole);
          bytes[at] = byte;
          for (const content of [whole.subarray(0, cut), bytes]) {
            await writeFile(broken, content);
            try {
              const file = await openSafetensors(broken);
              for (const name of file.tensors.keys()) await file.read(name);
              await file.close();
            } catch (error) {
              expect(error).toBeInstanceOf(FormatError);
            }
          }
        },
      ),
      { numRuns: 150, seed: 1 },
    );
  });
});
