/**
 * A SAELens run, left after one step as its checkpoint, goes on here with Adam's state and ends where SAELens ended. Where
 * that state belongs to other numbers than the weights, it is not used, and why is said.
 */
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSaelensAdam } from "../../src/formats/saelens-optimizer.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { openCheckpointStart } from "../../src/sae/checkpoint-start.ts";
import { filesOfSae, loadTrainingSae } from "../../src/sae/load.ts";
import { readWeights } from "../../src/train/checkpoint-tensors.ts";
import { train } from "../../src/train/trainer.ts";
import { CONFIG, memoryStore } from "../train/fixtures.ts";
import { f32, runnerOutputs, tensors } from "./cases.ts";
import { expectAllNear } from "./closeness.ts";

const fixture = (path: string) => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const CHECKPOINT = fixture("foreign/saelens-checkpoint");
const RUN = fixture("golden/batchtopk_train");
const [D_IN, D_SAE, BATCH_TOKENS] = [24, 96, 32];
/** as in the golden runs, at the same learning rate */
const WEIGHT_TOLERANCE = 3e-5;

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "lapidary-resumed-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** A copy of the checkpoint that may be changed. */
async function copied(name: string): Promise<string> {
  const dir = join(scratch, name);
  await cp(CHECKPOINT, dir, { recursive: true });
  return dir;
}

describe("Adam's state of a SAELens checkpoint", () => {
  it("is read as SAELens had it, the encoder's turned round", async () => {
    const golden = await tensors(RUN, "after_step_1.safetensors");
    const adam = (await openSaelensAdam(CHECKPOINT, { dIn: D_IN, dSae: D_SAE }))!;
    expect(adam.step).toBe(1);
    for (const [moment, name] of [
      ["m", "exp_avg"],
      ["v", "exp_avg_sq"],
    ] as const) {
      const plain = (parameter: string) => f32(golden, `adam.${name}.${parameter}`);
      expect(await adam.read(moment, "wDec")).toEqual(plain("W_dec"));
      expect(await adam.read(moment, "bDec")).toEqual(plain("b_dec"));
      expect(await adam.read(moment, "bEnc")).toEqual(plain("b_enc"));
      const [turned, asStored] = [await adam.read(moment, "wEnc"), plain("W_enc")];
      for (let i = 0; i < D_SAE; i++)
        for (let j = 0; j < D_IN; j++) expect(turned[i * D_IN + j]).toBe(asStored[j * D_SAE + i]);
    }
    await adam.close();
  });

  it("lets training end where SAELens ended; without it, it does not", async () => {
    const golden = await tensors(RUN, "after_step_10.safetensors");
    const batches = f32(await tensors(RUN, "batches.safetensors"), "batches");
    const left = batches.subarray(BATCH_TOKENS * D_IN);
    const store = {
      ...memoryStore(left, D_IN),
      batches: () => ({
        batchTokens: BATCH_TOKENS,
        nBatches: 9,
        batch: async (_epoch: number, i: number) =>
          left.slice(i * BATCH_TOKENS * D_IN, (i + 1) * BATCH_TOKENS * D_IN),
      }),
    };
    const { form } = await loadTrainingSae(CHECKPOINT);
    const open = async () => {
      const start = await openCheckpointStart(CHECKPOINT);
      if (start === null || "unused" in start) throw new Error("the state is not used");
      return start;
    };
    const { threshold, rows, adam } = await open();
    await rows.close();
    await adam.close();
    const run = async (name: string, withAdam: boolean) => {
      const outcome = await train({
        config: {
          ...CONFIG,
          batchTokens: BATCH_TOKENS,
          epochs: 1,
          schedule: { name: "constant", lr: 1e-3, lrEnd: 1e-3, warmUpSteps: 0, decaySteps: 0, nCycles: 1 },
          clipNorm: 1,
          deadAfterTokens: 1e9,
          resampling: null,
          guard: null,
        },
        dir: join(scratch, name),
        identity: {},
        store,
        start: {
          form,
          threshold,
          weights: async () => {
            const { rows, adam } = await open();
            await adam.close();
            return rows;
          },
          ...(withAdam && {
            adam: { step: adam.step, moments: async () => (await openSaelensAdam(CHECKPOINT, rows))! },
          }),
        },
        createEngine: createReferenceEngine,
      });
      return { outcome, weights: await readWeights(outcome.finalCheckpointDir) };
    };
    const resumed = await run("resumed", true);
    const wanted = f32(golden, "W_dec");
    expectAllNear(resumed.weights.wDec, wanted, WEIGHT_TOLERANCE, "wDec");
    expectAllNear(resumed.weights.bEnc, f32(golden, "b_enc"), WEIGHT_TOLERANCE, "bEnc");
    expectAllNear(resumed.weights.bDec, f32(golden, "b_dec"), WEIGHT_TOLERANCE, "bDec");
    const { weights: fresh } = await run("fresh", false);
    expect(Math.max(...fresh.wDec.map((w, i) => Math.abs(w - wanted[i])))).toBeGreaterThan(
      20 * WEIGHT_TOLERANCE,
    );
  });

  it("is not used where the weights are not the parameters that Adam moved", async () => {
    for (const { dir } of runnerOutputs())
      for (const name of ["checkpoint_mid", "checkpoint_final"])
        expect(await openCheckpointStart(join(dir, name))).toMatchObject({
          unused: expect.stringMatching(/inputs scaled by expected_average_only_in/),
        });
    const scaled = await copied("scaled");
    await writeFile(join(scaled, "activation_scaler.json"), '{"scaling_factor": 0.5}');
    expect(await openCheckpointStart(scaled)).toMatchObject({ unused: expect.stringMatching(/scaled/) });
    const without = await copied("without");
    await rm(join(without, "trainer_state.pt"));
    expect(await openCheckpointStart(without)).toBeNull();
  });

  it("is refused where it is damaged, or of another SAE", async () => {
    const other = await copied("other");
    await cp(
      join(runnerOutputs()[0].dir, "checkpoint_mid", "trainer_state.pt"),
      join(other, "trainer_state.pt"),
    );
    await expect(openCheckpointStart(other)).rejects.toThrow(
      /trainer_state\.pt: "exp_avg" has shape \[64, 24\], its parameter has \[96, 24\]/,
    );
    await cp(fixture("foreign/state.pt"), join(other, "trainer_state.pt"));
    await expect(openCheckpointStart(other)).rejects.toThrow(/no dict "optimizer"/);
  });

  it("counts among the files that decide what the SAE is", async () => {
    expect([...(await filesOfSae(CHECKPOINT)).keys()]).toEqual([
      "cfg.json",
      "sae_weights.safetensors",
      "runner_cfg.json",
      "activation_scaler.json",
      "trainer_state.pt",
    ]);
    expect(await readdir(CHECKPOINT)).not.toContain("runner_cfg.json");
  });
});
