import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CONFIG, D_IN, D_SAE, FORM, startWeights } from "../../test/train/fixtures.ts";
import type { Engine } from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { hashValue } from "../storage/hash.ts";
import {
  findDamage,
  listCheckpoints,
  pruneCheckpoints,
  sweepCheckpoints,
  verifyCheckpoint,
  writeCheckpoint,
} from "./checkpoint.ts";
import { readCounters, readWeights, restoreTensors } from "./checkpoint-tensors.ts";
import { NOTHING_WATCHED } from "./watch.ts";

let dir: string;
let engine: Engine;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-checkpoint-"));
  const config = {
    dIn: D_IN,
    dSae: D_SAE,
    widths: [D_SAE],
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: true,
    training: true,
  };
  engine = await createReferenceEngine(config, startWeights());
});
afterEach(() => rm(dir, { recursive: true }));

const counters = Float64Array.from({ length: D_SAE }, (_, i) => 2 ** 33 + i);

async function save(step: number, finished = false, best?: number) {
  return writeCheckpoint(dir, engine, counters, {
    state: {
      step,
      tokens: step * 64,
      threshold: 0.1 + 0.2,
      dead: 0,
      guard: null,
      rollbacks: 0,
      incidents: [],
      ...(best !== undefined && { watch: { ...NOTHING_WATCHED, best: { step: best, ve: 0.5 } } }),
      seconds: 1,
    },
    run: {
      config: CONFIG,
      form: FORM,
      threshold: 0,
      dIn: D_IN,
      batchesPerEpoch: 10,
      totalSteps: 30,
      inputs: {},
    },
    logs: { metrics: { bytes: 0, sha256: "" }, events: { bytes: 0, sha256: "" } },
    finished,
  });
}

it("gives back tensors, counters and state as they were", async () => {
  await engine.write("v.wDec", 3, new Float32Array(D_IN).fill(0.1));
  const { dir: at } = await save(13);
  await engine.write("v.wDec", 3, new Float32Array(D_IN));
  await engine.write("bDec", 0, new Float32Array(D_IN).fill(9));
  await restoreTensors(at, engine, "all");
  expect([...(await engine.read("v.wDec", 3, 4))]).toEqual([...new Float32Array(D_IN).fill(0.1)]);
  expect([...(await engine.read("bDec", 0, D_IN))]).toEqual([...new Float32Array(D_IN)]);
  expect((await readWeights(at)).wEnc).toEqual(startWeights().wEnc);
  expect(await readCounters(at)).toEqual(counters);
  const [checkpoint] = await listCheckpoints(dir);
  expect(checkpoint.record.state.threshold).toBe(0.1 + 0.2);
  expect(checkpoint.record.reader).toEqual({ epoch: 1, batch: 3 });
});

it("sweeps what is torn or temporary and touches nothing else", async () => {
  await save(5);
  const torn = await save(6);
  await truncate(join(torn.dir, "moments.safetensors"), 100);
  await mkdir(join(dir, "step-00000007.99-1.tmp"));
  await mkdir(join(dir, "step-00000008"));
  await writeFile(join(dir, "notes.txt"), "mine");
  const whole = await sweepCheckpoints(dir);
  expect(whole.map(({ record }) => record.state.step)).toEqual([5]);
  expect((await readdir(dir)).sort()).toEqual(["notes.txt", "step-00000005"]);
});

it("finds a flipped byte and names its file", async () => {
  const checkpoint = await save(5);
  expect(await findDamage(checkpoint)).toBeNull();
  const file = join(checkpoint.dir, "weights.safetensors");
  const { open } = await import("node:fs/promises");
  const handle = await open(file, "r+");
  const { buffer } = await handle.read(new Uint8Array(1), 0, 1, 2000);
  await handle.write(Uint8Array.of(buffer[0] ^ 1), 0, 1, 2000);
  await handle.close();
  expect(await findDamage(checkpoint)).toBe(file);
  await expect(verifyCheckpoint(checkpoint)).rejects.toThrow(/weights\.safetensors/);
});

it("keeps the last two and the last at an epoch boundary; of a finished run the final one", async () => {
  const steps = async () => (await listCheckpoints(dir)).map(({ record }) => record.state.step);
  for (const step of [5, 10, 12, 14, 16]) {
    await save(step);
    await pruneCheckpoints(dir);
  }
  expect(await steps()).toEqual([10, 14, 16]);
  await save(20);
  await pruneCheckpoints(dir);
  expect(await steps()).toEqual([16, 20]);
  await save(30, true);
  await pruneCheckpoints(dir);
  expect(await steps()).toEqual([30]);
});

it("keeps what any checkpoint that is kept calls the best", async () => {
  const steps = async () => (await listCheckpoints(dir)).map(({ record }) => record.state.step);
  await save(5, false, 5);
  await save(10, false, 5); // a boundary: the guard may go back to it, and then 5 is the best again
  for (const step of [12, 14, 16]) {
    await save(step, false, 12);
    await pruneCheckpoints(dir);
  }
  expect(await steps()).toEqual([5, 10, 12, 14, 16]);
  await save(30, true, 12);
  await pruneCheckpoints(dir);
  expect(await steps()).toEqual([12, 30]);
});

it("reads a record of before logs were hashed, when their length alone was known", async () => {
  const { dir: at, record } = await save(5);
  const { recordHash: _, ...content } = { ...record, logs: { metrics: 10, events: 20 } };
  const recordHash = hashValue({ ...content, state: { ...content.state, seconds: 0 } });
  await writeFile(join(at, "checkpoint.json"), JSON.stringify({ ...content, recordHash }));
  const [found] = await listCheckpoints(dir);
  expect(found.record.logs).toEqual({
    metrics: { bytes: 10, sha256: null },
    events: { bytes: 20, sha256: null },
  });
});
