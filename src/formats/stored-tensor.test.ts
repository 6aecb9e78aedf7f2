/** Weights on their way to disk: the largest that bfloat16 holds goes there, the next float32 beyond rounding is refused. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeSafetensors } from "./safetensors.ts";
import { plain, turned } from "./stored-tensor.ts";

/** The largest bfloat16, and the first float32 that is rounded to infinity rather than to it. */
const LARGEST = 2 ** 127 * (2 - 2 ** -7);
const BEYOND = 2 ** 127 * (2 - 2 ** -8);
const below = Float32Array.of(1, BEYOND - 2 ** 104, -LARGEST, 0, -0, 5);

it("what rounds to a finite bfloat16 is written, to the last float32 of them", () => {
  const words = plain("w", [6], below, "bfloat16").data;
  expect(words).toEqual(Uint16Array.of(0x3f80, 0x7f7f, 0xff7f, 0, 0x8000, 0x40a0));
});

it.each([BEYOND, -BEYOND, 3.4028234663852886e38])(
  "%d is refused for bfloat16, and not for float32",
  async (value) => {
    const values = Float32Array.from(below);
    values[4] = value;
    const scratch = await mkdtemp(join(tmpdir(), "stored-"));
    const refusal = `tensor "w" holds ${value}, which bfloat16 cannot: it would be written as infinity`;
    expect(() => plain("w", [6], values, "bfloat16")).toThrow(refusal);
    await expect(
      writeSafetensors(join(scratch, "w"), [turned("w", [2, 3], values, "bfloat16")]),
    ).rejects.toThrow(refusal);
    expect(await readdir(scratch)).toEqual([]);
    expect(plain("w", [6], values, "float32").data).toBe(values);
    await rm(scratch, { recursive: true });
  },
);
