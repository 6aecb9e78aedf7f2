/** NumPy arrays and the zip archives they come in, against files that NumPy wrote. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { NpzFile, parseNpyHeader } from "./npy.ts";
import { ZipFile } from "./zip.ts";

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../test/fixtures/foreign/${name}`, import.meta.url));

describe("an npz archive", () => {
  it("stored: every array has its dtype, shape and elements in C order", async () => {
    const file = await NpzFile.open(fixture("stored.npz"));
    expect(file.arrays.get("W_enc")).toMatchObject({ dtype: "F32", shape: [3, 4], isFortranOrder: false });
    expect([...(await file.readF32("W_enc"))]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(file.arrays.get("f")).toMatchObject({ dtype: "F64", shape: [2, 3], isFortranOrder: true });
    expect([...(await file.readF32("f"))]).toEqual([0, 1, 2, 3, 4, 5]);
    expect(file.arrays.get("s")?.shape).toEqual([]);
    expect([...(await file.readF32("s"))]).toEqual([2.5]);
    expect([...(await file.read("i"))]).toEqual([1n, -2n]);
    expect([...(await file.readF32("h"))]).toEqual([1.5, -0.25]);
    await expect(file.readF32("i")).rejects.toThrow(/is I64, expected F32/);
    await expect(file.read("nothing")).rejects.toThrow(/it holds W_enc, f, s, i, h/);
    await file.close();
  });

  it("deflated: the same", async () => {
    const file = await NpzFile.open(fixture("deflated.npz"));
    expect([...(await file.readF32("W_enc"))]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect((await file.readF32("z")).every((value) => value === 0)).toBe(true);
    await file.close();
  });

  it("refuses Python objects, which are pickles", async () => {
    await expect(NpzFile.open(fixture("objects.npz"))).rejects.toThrow(/element type '\|O'/);
  });

  it("any flipped byte is an error of ours, or the numbers are still those that the CRC-32 vouches for", async () => {
    const bytes = await readFile(fixture("stored.npz"));
    const path = join(await mkdtemp(join(tmpdir(), "lapidary-npz-")), "x.npz");
    let refused = 0;
    for (let at = 0; at < bytes.length; at += 7) {
      const copy = Buffer.from(bytes);
      copy[at] ^= 0x41;
      await writeFile(path, copy);
      try {
        const file = await NpzFile.open(path);
        try {
          for (const name of file.arrays.keys()) await file.read(name);
        } finally {
          await file.close();
        }
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(50);
  });
});

describe("a header", () => {
  const header = (text: string) => {
    const bytes = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x00\x00", "latin1"), Buffer.from(text)]);
    bytes.writeUInt16LE(text.length, 8);
    return bytes;
  };
  it.each([
    [
      "code in place of a literal",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),)}",
      /expected a dict/,
    ],
    ["a missing key", "{'descr': '<f4', 'shape': (2,)}", /expected a dict/],
    ["a key twice", "{'descr': '<f4', 'descr': '<f8', 'shape': (2,)}", /expected a dict/],
    ["big-endian numbers", "{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", /big-endian/],
    [
      "a structured type",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
      /expected a dict/,
    ],
    [
      "a size beyond all numbers",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
      /expected at most 8/,
    ],
    ["thousands of spaces", `{'descr': '<f4',${" ".repeat(9000)}`, /expected a dict/],
  ])("with %s is refused", (_what, text, message) => {
    expect(() => parseNpyHeader("x", header(text))).toThrow(message);
  });
});

describe("a zip archive", () => {
  it("that is cut short, or none at all, is refused with the byte", async () => {
    const bytes = await readFile(fixture("stored.npz"));
    const path = join(await mkdtemp(join(tmpdir(), "lapidary-zip-")), "x.zip");
    await writeFile(path, bytes.subarray(0, bytes.length - 5));
    await expect(ZipFile.open(path)).rejects.toThrow(/no end of a zip archive/);
    await writeFile(path, "");
    await expect(ZipFile.open(path)).rejects.toThrow(FormatError);
  });

  it("whose entry says that it expands a thousandfold is not expanded", async () => {
    const bytes = await readFile(fixture("deflated.npz"));
    const path = join(await mkdtemp(join(tmpdir(), "lapidary-zip-")), "x.zip");
    const central = bytes.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    bytes.writeUInt32LE(1 << 30, central + 24);
    await writeFile(path, bytes);
    const zip = await ZipFile.open(path);
    const [name] = zip.entries.keys();
    await expect(zip.read(name, { maxBytes: 2 ** 31 })).rejects.toThrow(/would expand/);
    await zip.close();
  });
});
