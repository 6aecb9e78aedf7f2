/** The check at full size lets right answers pass, and finds an entry that is missing, wrong, or should not be there. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, SizeSelection, SparseActs } from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { checkSelection } from "./check.ts";
import { chooseSelection } from "./encode.ts";
import { PlantedSae } from "./planted.ts";
import { chooseSize } from "./sizes.ts";
import { openEngine, plantedBatch } from "./workload.ts";

const size = chooseSize("tiny", { dIn: 48, dSae: 300, k: 5 });
const planted = new PlantedSae(size);
let engine: Engine;
let x: Float32Array;

beforeAll(async () => {
  engine = await openEngine(createReferenceEngine, planted, { training: false, rescale: true });
  x = await plantedBatch(engine, planted, 0, 12);
});
afterAll(() => engine.dispose());

/** Without entry `e`, which belongs to the first token. */
function without({ offsets, latents, values, nTokens }: SparseActs, e: number): SparseActs {
  const keep = <T extends Uint32Array | Float32Array>(list: T) => list.filter((_, i) => i !== e) as T;
  return {
    nTokens,
    offsets: offsets.map((o) => (o > e ? o - 1 : o)),
    latents: keep(latents),
    values: keep(values),
  };
}

describe.each(["batch-topk", "topk", "threshold"] as const)("%s", (kind) => {
  let selection: SizeSelection;
  let acts: SparseActs;
  beforeAll(async () => {
    selection = await chooseSelection(engine, x, kind, size.k);
    acts = await engine.encode(x, selection);
    expect(acts.offsets[1]).toBeGreaterThan(0);
  });
  const largest = () => {
    const first = acts.values.subarray(0, acts.offsets[1]);
    return first.indexOf(Math.max(...first));
  };

  it("passes what the engine selects", async () => {
    const { relativeError } = await checkSelection(engine, x, acts, selection);
    expect(relativeError).toBeLessThan(1e-6);
  });

  it("finds an entry that is missing", async () => {
    await expect(checkSelection(engine, x, without(acts, largest()), selection)).rejects.toThrow("off by");
  });

  it("finds a wrong value", async () => {
    const values = acts.values.slice();
    values[largest()] *= 1.001;
    await expect(checkSelection(engine, x, { ...acts, values }, selection)).rejects.toThrow("off by");
  });

  it("finds an entry that does not belong", async () => {
    const latents = acts.latents.slice();
    const present = new Set(latents.subarray(0, acts.offsets[1]));
    latents[largest()] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].find((latent) => !present.has(latent)) ?? 0;
    await expect(checkSelection(engine, x, { ...acts, latents }, selection)).rejects.toThrow("off by");
  });
});
