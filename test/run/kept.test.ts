/** What a recipe keeps of a training that went wrong, and its threshold: chosen at export, told in files and card. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadSae } from "../../src/sae/load.ts";
import { readJson } from "../../src/storage/json.ts";
import { cli, smallRun } from "./small-recipe.ts";

interface Units {
  units: Record<
    string,
    {
      output: {
        weightsHash: string;
        watch: { best: { step: number; ve: number; weightsHash: string }; last: { ve: number } };
      };
      inputs: { weights: string };
    }
  >;
}

it("exports the best checkpoint and a calibrated threshold; another choice needs no training", {
  timeout: 240_000,
}, async () => {
  const { folder, recipe } = await smallRun({ baseModel: null, polish: { when: "never" } });
  // Resampling at five times the norm without caps, and nobody who undoes it.
  const ruin = [
    "train.guard=null",
    "train.resampling={scale: 5, maxSelectionShare: 1, maxThresholdRise: 1.0e+9}",
  ];
  const run = (...choices: string[]) =>
    cli(
      folder,
      ...["run", recipe, "--only", "corpus,harvest,before,train,export,after,card", "--overwrite"],
      ...[...ruin, ...choices].flatMap((choice) => ["--set", choice]),
    );
  const state = () => readJson<Units>(join(folder, "runs/small/run.json"));
  const sae = () => loadSae(join(folder, "runs/small/sae/btk-mat-layer-4-k-32"));

  const first = await run("train.keep=best", "train.threshold=calibrated");
  expect(first.stderr).not.toContain("lapidary:");
  const { output } = (await state()).units["train:4"];
  const { best, last } = output.watch;
  expect(best.step).toBe(23); // the checkpoint before the resampling
  expect(best.ve).toBeGreaterThan(last.ve + 0.1);
  expect((await state()).units["export:4"].inputs.weights).toBe(best.weightsHash);
  const saved = await sae();
  const facts = saved.config.metadata.lapidary as Record<string, unknown> & {
    calibration: Record<string, unknown>;
  };
  expect(facts).toMatchObject({
    steps: 23,
    threshold: "calibrated",
    calibration: { l0_calibrated: 32, seed: 0, sets: ["prose", "chat"] },
  });
  expect(new Set(saved.threshold)).toEqual(new Set([facts.calibrated_threshold]));
  expect(facts.topk_threshold).not.toBe(facts.calibrated_threshold);
  const card = await readFile(join(folder, "runs/small/README.md"), "utf8");
  expect(card).toContain("held-out VE was best at step 23");
  expect(card).toContain("the SAE of step 23 is kept");
  expect(card).toMatch(/calibrated on them .* \(L0 32\.00\)\. The SAE has the latter\./);
  expect(card).toMatch(
    /Layer 4, step 23: .* dead latents; predicted on a training batch: .* of the selection/,
  );

  const second = await run();
  expect(second.stderr).not.toContain("lapidary:");
  expect(second.stderr).toContain("train layer 4 (done before, unchanged)");
  expect((await state()).units["export:4"].inputs.weights).toBe(output.weightsHash);
  const other = await sae();
  const theirs = other.config.metadata.lapidary as Record<string, unknown>;
  expect(theirs).toMatchObject({ steps: 46, threshold: "ema" });
  expect(new Set(other.threshold)).toEqual(new Set([Math.fround(theirs.topk_threshold as number)]));
  expect(await readFile(join(folder, "runs/small/README.md"), "utf8")).toContain(
    "the SAE of step 46 is kept",
  );
  await rm(folder, { recursive: true });
});
