/** Firing counts on disk. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { loadFiring, saveFiring, togetherFired } from "./firing-file.ts";

const path = async () => join(await mkdtemp(join(tmpdir(), "lapidary-firing-")), "a.safetensors");

describe("firing counts", () => {
  it("come back as they were, set by set, and add up", async () => {
    const file = await path();
    const sets = {
      "model/prose": { counts: Float64Array.of(3, 0, 10), nTokens: 10 },
      "model/chat": { counts: Float64Array.of(1, 2, 0), nTokens: 4 },
    };
    await saveFiring(file, sets);
    const read = await loadFiring(file);
    expect(Object.fromEntries(read)).toEqual(sets);
    expect(togetherFired([...read.values()])).toEqual({ counts: Float64Array.of(4, 2, 10), nTokens: 14 });
  });

  it("that no set of so many tokens gives are refused", async () => {
    const file = await path();
    await saveFiring(file, { s: { counts: Float64Array.of(11), nTokens: 10 } });
    await expect(loadFiring(file)).rejects.toThrow(/outside 0 to its 10 tokens/);
    await writeSafetensors(file, [{ name: "s", dtype: "F64", shape: [1], data: Float64Array.of(1) }]);
    await expect(loadFiring(file)).rejects.toThrow(FormatError);
  });
});
