/** The model that runs were made with, so that what one types can be run through their SAEs. */
import { join } from "node:path";
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import type { WindowsManifest } from "../../corpus/windows.ts";
import { type LiveIndex, LiveModel } from "../../dashboard/live/live-model.ts";
import type { SiteLive } from "../../dashboard/site.ts";
import { LapidaryError, ResourceError } from "../../errors.ts";
import type { MemoryPlan } from "../../kernels/memory.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { RunContext } from "../context.ts";
import { freeMemory } from "../resources.ts";
import type { ServedIndex } from "./served.ts";

/** A model that can be asked, and what the page is told of it; or why there is none. */
export type LiveSide =
  | { readonly model: LiveModel; readonly live: SiteLive; readonly notLive: null }
  | { readonly model: null; readonly live: null; readonly notLive: string };

const NOTE =
  "Steering runs the whole context again for each token: quick with small models, slow with large ones.";

/** Of several models that of the first run that has one; SAEs for others are shown, not run. Nothing large is opened yet. */
export async function openLive(
  indexes: readonly ServedIndex[],
  threads: number | undefined,
): Promise<LiveSide> {
  let notLive = "no run is shown whose SAEs could be run";
  let first: { run: RunContext; folder: string; key: string } | null = null;
  const runnable: LiveIndex[] = [];
  for (const { entry, of } of indexes) {
    if (of === null) continue;
    const { run, layer, load } = of;
    try {
      const rules = await tokenRules(run);
      if (typeof rules === "string") {
        notLive = rules;
        continue;
      }
      const folder = await run.modelFolder("model");
      const { dtype, device } = run.modelRecipe("model");
      const key = JSON.stringify([folder, dtype, device]);
      first ??= { run, folder, key };
      if (first.key === key) runnable.push({ id: entry.id, layer, load, ...rules });
    } catch (error) {
      if (!(error instanceof LapidaryError)) throw error;
      notLive = `the model cannot be opened: ${error.message}`;
    }
  }
  if (first === null || runnable.length === 0) return { model: null, live: null, notLive };
  const { run, folder } = first;
  const { device, dtype, threads: modelThreads } = run.modelRecipe("model");
  const { chatTemplate } = await readTokenizerFolder(folder);
  const model = new LiveModel({
    folder,
    device,
    dtype: dtype ?? undefined,
    modelThreads: modelThreads ?? undefined,
    indexes: runnable,
    createEngine: (await run.engine()).create,
    threads,
    admit,
  });
  const live = {
    indexes: runnable.map(({ id }) => id),
    model: run.modelName,
    chat: chatTemplate !== null,
    contextSize: Math.max(...runnable.map(({ contextSize }) => contextSize)),
    note: NOTE,
  };
  return { model, live, notLive: null };
}

/** How the training's tokens were made; in words why that is not known. */
async function tokenRules({
  recipe,
  dir,
}: RunContext): Promise<Pick<LiveIndex, "contextSize" | "prependBos" | "excludedTokenIds"> | string> {
  if (recipe.activations.import !== null)
    return "the activations were made elsewhere, so the model is not known here";
  const manifest = await readJsonIfPresent<WindowsManifest>(join(dir.corpus("train"), "manifest.json"));
  if (manifest === undefined)
    return "the run's corpus is not here any more, so its rules for tokens are not known";
  return {
    contextSize: recipe.contextSize,
    prependBos: recipe.corpus.prependBos,
    excludedTokenIds: manifest.excludedTokenIds,
  };
}

/** @throws {ResourceError} the model holds more than there is */
async function admit({ total, parts }: MemoryPlan): Promise<void> {
  const free = await freeMemory();
  if (total <= free) return;
  const largest = parts.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  throw new ResourceError(
    `the model needs about ${gigabytes(total)} of memory (${largest.name} ${gigabytes(largest.bytes)}), ${gigabytes(free)} is free`,
    "stop other programs, or look without it: --no-live",
  );
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
