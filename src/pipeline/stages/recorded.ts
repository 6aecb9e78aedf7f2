/**
 * What earlier units left, opened for later ones only if it is still what they recorded: a manifest that was changed since
 * would be believed about everything it says.
 */
import { join } from "node:path";
import type { ActivationStore } from "../../activations/activations.ts";
import { openActivationStore } from "../../activations/store.ts";
import { openWindowSet } from "../../corpus/window-set.ts";
import type { WindowSet } from "../../corpus/windows.ts";
import { FormatError } from "../../errors.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { hashFile } from "../../storage/hash.ts";
import type { RunContext } from "../context.ts";
import type { ModelKey } from "../run-directory.ts";

/** The windows of a set. @throws {FormatError} their manifest is not the one that the corpus stage wrote */
export async function openSetWindows(context: RunContext, set: string): Promise<WindowSet> {
  const dir = context.dir.corpus(set);
  await checkManifest(dir, context.state.output(`corpus:${set}`).manifest as string);
  return openWindowSet(dir);
}

/** The activations of a set. @throws {FormatError} their manifest is not the one that the harvest wrote */
export async function openSetStore(
  context: RunContext,
  model: ModelKey,
  set: string,
  layer: number,
): Promise<ActivationStore> {
  const dir = context.dir.activations(model, set, layer);
  await checkManifest(dir, storeHash(context, model, set, layer));
  return openActivationStore(dir);
}

/** Hash of the manifest of one store, as the harvest recorded it. */
export function storeHash(context: RunContext, model: ModelKey, set: string, layer: number): string {
  const { stores } = context.state.output(`harvest:${model}:${set}`) as { stores: Record<string, string> };
  return stores[canonicalHookName(layer)];
}

async function checkManifest(dir: string, recorded: string): Promise<void> {
  const path = join(dir, "manifest.json");
  const found = await hashFile(path);
  if (found === recorded) return;
  throw new FormatError(path, `its bytes hash to ${found}, the run recorded ${recorded}`, {
    hint: `the file was damaged or replaced: delete ${dir} and run the recipe again`,
  });
}
