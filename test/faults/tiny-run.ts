/** The run that faults are tried on: all stages of a recipe within a second or two. */
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { loadSae } from "../../src/sae/load.ts";
import { saveSae } from "../../src/sae/save.ts";
import { ROOT, smallRecipe } from "../run/small-recipe.ts";

/** Layer 4's hook point, as folders call it. */
export const HOOK = "blocks.4.hook_resid_post";
/** Folder of the saved SAE. */
export const SAE = "btk-mat-layer-4-k-16";

const D_SAE = 256;

/** A fresh folder with `tiny.yaml`; and `imported.yaml`, which takes activations from `dumps/`. */
export interface TinyRun {
  readonly folder: string;
  readonly recipe: string;
  readonly importing: string;
}

/** 1 500 tokens, an SAE of 256 latents, six steps with three checkpoints, a polish. */
export async function tinyRun(): Promise<TinyRun> {
  const folder = await mkdtemp(join(tmpdir(), "lapidary-faults-"));
  await writeSmallSae(join(folder, "sae-base/layer_4"));
  const { train, corpus, eval: held } = smallRecipe(folder) as Record<string, object>;
  const changes = {
    sae: { from: "sae-base/layer_{layer}" },
    contextSize: 64,
    corpus: { ...corpus, tokens: 1500 },
    train: {
      ...train,
      k: 16,
      widths: [64, D_SAE],
      epochs: 1,
      checkpointEverySteps: 2,
      guard: { everySteps: 3, tokens: 120 },
    },
    eval: { ...held, tokens: 160, splice: { tokens: 64 } },
  };
  const write = async (name: string, more: object) => {
    const path = join(folder, name);
    await writeFile(path, stringify(smallRecipe(folder, { ...changes, ...more })));
    return path;
  };
  const dumps = { import: `dumps/{model}/{set}/${HOOK.replace("4", "{layer}")}` };
  return {
    folder,
    recipe: await write("tiny.yaml", {}),
    importing: await write("imported.yaml", { activations: dumps }),
  };
}

/** The first latents of the embedded SAE: a whole run takes a fraction of the time. */
async function writeSmallSae(folder: string): Promise<void> {
  const sae = await loadSae(join(ROOT, "assets/tiny-gemma/sae-base/layer_4"));
  const { dIn } = sae.config;
  const { wEnc, wDec, bEnc, bDec } = sae.weights;
  await mkdir(folder, { recursive: true });
  await saveSae(folder, {
    ...sae,
    config: { ...sae.config, dSae: D_SAE, metadata: {} }, // which speaks of all its latents
    weights: {
      dIn,
      dSae: D_SAE,
      wEnc: wEnc.subarray(0, D_SAE * dIn),
      wDec: wDec.subarray(0, D_SAE * dIn),
      bEnc: bEnc.subarray(0, D_SAE),
      bDec,
    },
    threshold: sae.threshold === null ? null : sae.threshold.subarray(0, D_SAE),
    runnerConfig: null,
  });
}

/** Of a run that met faults: a lock that nobody holds, which the next command takes over. */
export const LEFT_OUT = ["run.lock"];
