/** Torch checkpoints, against files that torch wrote. */
import { copyFile, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { FormatError, UnsupportedError } from "../errors.ts";
import { type PickleValue, readPickle } from "./pickle.ts";
import { TorchFile, TorchTensor } from "./torch.ts";

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../test/fixtures/foreign/${name}`, import.meta.url));

async function valuesOf(file: TorchFile, tensor: PickleValue | undefined): Promise<number[]> {
  if (!(tensor instanceof TorchTensor)) throw new Error("no tensor");
  return [...(await file.read(tensor))].map(Number);
}

describe("a state dict", () => {
  it.each(["state.pt", "proto4.pt"])(
    "%s: every tensor has its shape, dtype and elements, whatever its strides",
    async (name) => {
      const file = await TorchFile.open(fixture(name));
      const dict = file.value as Map<string, PickleValue>;
      expect([...dict.keys()]).toEqual([
        "encoder.weight",
        "encoder.bias",
        "decoder.weight",
        "b_dec",
        "k",
        "threshold",
        "half",
        "flag",
      ]);
      const encoder = dict.get("encoder.weight") as TorchTensor;
      expect(encoder).toMatchObject({ dtype: "F32", shape: [5, 3] });
      expect((await valuesOf(file, encoder)).slice(0, 3)).toEqual([
        1.5409960746765137, -0.293428897857666, -2.1787893772125244,
      ]);
      const decoder = dict.get("decoder.weight") as TorchTensor; // [5, 3] transposed
      expect(decoder).toMatchObject({ shape: [3, 5], strides: [1, 3] });
      expect((await valuesOf(file, decoder)).slice(0, 6)).toEqual([
        0.3703935444355011, 0.7748488187789917, -1.2904350757598877, -0.7184800505638123, 0.1919950693845749,
        1.4565025568008423,
      ]);
      expect([...(await file.readF32(dict.get("b_dec") as TorchTensor))]).toEqual([
        0.259765625, -1.03125, -0.5,
      ]);
      expect(await valuesOf(file, dict.get("k"))).toEqual([4]);
      expect(await valuesOf(file, dict.get("threshold"))).toEqual([0.25]);
      expect([...(await file.readF32(dict.get("half") as TorchTensor))]).toEqual([1, 2, 4, 5]); // [:, 1:] of 0 … 5
      expect(await valuesOf(file, dict.get("flag"))).toEqual([1, 0]);
      await file.close();
    },
  );

  it("within other dicts, beside numbers, texts, lists and parameters", async () => {
    const file = await TorchFile.open(fixture("backup.pt"));
    const backup = file.value as Map<string, PickleValue>;
    expect(backup.get("step")).toBe(3);
    expect(backup.get("norm_factor")).toBeNull();
    expect(backup.get("size")).toEqual([2, 3]);
    const config = backup.get("config") as Map<string, PickleValue>;
    expect(config.get("lr")).toBe(1e-3);
    expect(config.get("name")).toBe("ünï");
    expect(config.get("list")).toEqual([1, 2.5, null, true, -7, 2 ** 40]);
    const weights = backup.get("ae") as Map<string, PickleValue>;
    expect(await valuesOf(file, weights.get("weight"))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await valuesOf(file, backup.get("param"))).toEqual([0, 1, 2, 3, 4, 5]);
    await file.close();
  });
});

describe("what is refused", () => {
  it("a checkpoint that names a class: nothing of it is made", async () => {
    await expect(TorchFile.open(fixture("module.pt"))).rejects.toThrow(
      /names "torch\.nn\.modules\.linear\.Linear"/,
    );
  });

  it("the format before torch 1.6, with what to do instead", async () => {
    await expect(TorchFile.open(fixture("legacy.pt"))).rejects.toThrow(UnsupportedError);
  });

  it("a flipped byte in a tensor's data", async () => {
    const path = join(await mkdtemp(join(tmpdir(), "lapidary-torch-")), "state.pt");
    await copyFile(fixture("state.pt"), path);
    const bytes = await readFile(path);
    const at = bytes.indexOf(Buffer.from(Float32Array.of(1.5409960746765137).buffer));
    bytes[at] ^= 1;
    await writeFile(path, bytes);
    const file = await TorchFile.open(path);
    const encoder = (file.value as Map<string, PickleValue>).get("encoder.weight") as TorchTensor;
    await expect(file.read(encoder)).rejects.toThrow(/CRC-32/);
    await file.close();
  });

  it("a tensor that reaches beyond its storage", async () => {
    const file = await TorchFile.open(fixture("state.pt"));
    const { storage } = (file.value as Map<string, PickleValue>).get("encoder.weight") as TorchTensor;
    await expect(file.read(new TorchTensor(storage, 1, [5, 3], [3, 1]))).rejects.toThrow(
      /reaches element 15 of a storage of 15/,
    );
    await file.close();
  });

  it("a pickle that calls os.system, before it is called", () => {
    const pickle = Buffer.from("\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "latin1");
    const rules = {
      name: (name: string): PickleValue => {
        throw new FormatError("x", `names ${name}`);
      },
      call: (): PickleValue => {
        throw new Error("called");
      },
      reference: (): PickleValue => null,
    };
    expect(() => readPickle("x", pickle, rules)).toThrow(/names os\.system/);
  });

  it.each([
    ["an instruction that builds instances", "\x80\x02(cos\nsystem\no.", /names|instruction/],
    ["a pickle that ends early", "\x80\x02}", /needs 1 bytes/],
    ["values left over", "\x80\x02NN.", /left over/],
    ["a value taken from nothing", "\x80\x02.", /takes a value/],
    ["a string longer than the pickle", "\x80\x02X\xff\xff\xff\x7f.", /needs 2147483647 bytes/],
    ["endless nesting", `\x80\x02${"(".repeat(100)}`, /nested/],
  ])("%s", (_what, text, message) => {
    const none = (): PickleValue => {
      throw new FormatError("x", "names something");
    };
    const rules = { name: none, call: none, reference: none };
    expect(() => readPickle("x", Buffer.from(text, "latin1"), rules)).toThrow(message);
  });
});
