/** Which files of a run are published, at which path of the repository, and whether the saved SAEs are still what was saved. */
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VerifyError } from "../../errors.ts";
import { missingFiles, type OutgoingFile, outgoingFile } from "../../hub/push.ts";
import type { Repository } from "../../hub/repository.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import type { RunContext } from "../context.ts";
import { exportedId } from "../stages/export.ts";
import { finishedLayers } from "../stages/finished.ts";
import { exportRecord } from "../stages/verify.ts";
import { readPublication } from "./publication.ts";

export const CARD = "README.md";
const VERIFICATION = "verification.json";
const REPORT = "report/index.html";

/** Does more differ than what a verification changes? Then it says nothing of what is to be published. */
export function isOutdated(there: Repository | null, files: readonly OutgoingFile[]): boolean {
  return missingFiles(there, files).some(({ path }) => path !== CARD && path !== VERIFICATION);
}

/** Everything of a run that is published, at its path in the repository; card and report from where they lie. */
export async function outgoingFiles(
  context: RunContext,
  { card, report }: { readonly card: string; readonly report: string },
  withVerification: boolean,
): Promise<OutgoingFile[]> {
  const paths = [...(await places(context)), [CARD, card] as const, [REPORT, report] as const];
  if (withVerification) paths.push([VERIFICATION, context.dir.publication]);
  const files: OutgoingFile[] = [];
  for (const [path, file] of paths)
    if ((await statIfPresent(file)) !== null) files.push(await outgoingFile(path, file));
  return files;
}

/** Paths that a card may point to: they are published with it. `publish` sees to it that there is a report. */
export async function publishedPaths(context: RunContext): Promise<string[]> {
  const found = [REPORT];
  for (const [path, file] of await places(context))
    if ((await statIfPresent(file)) !== null) found.push(path);
  if ((await readPublication(context, finishedLayers(context))) !== null) found.push(VERIFICATION);
  return found.sort();
}

/** Where what is published lies in the run, card, report and verification aside; not all of it need be there. */
async function places(context: RunContext): Promise<(readonly [path: string, file: string])[]> {
  const { dir } = context;
  const layers = finishedLayers(context);
  const paths: [path: string, file: string][] = [];
  for (const layer of layers) {
    const id = exportedId(context, layer);
    for (const name of await namesIn(dir.sae(id))) paths.push([`${id}/${name}`, join(dir.sae(id), name)]);
  }
  const evals = dirname(dir.splice("after"));
  for (const name of await namesIn(evals))
    if (name.endsWith(".json")) paths.push([`evals/${name}`, join(evals, name)]);
  for (const layer of layers)
    for (const polish of [false, true])
      for (const name of ["metrics.jsonl", "events.jsonl"])
        paths.push([
          `train/${canonicalHookName(layer)}${polish ? ".polish" : ""}/${name}`,
          join(dir.train(layer, polish), name),
        ]);
  return paths;
}

/** Names of the files in a folder, without those that are being written; none where there is no folder. */
async function namesIn(folder: string): Promise<string[]> {
  if ((await statIfPresent(folder)) === null) return [];
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".tmp"))
    .map(({ name }) => name)
    .sort();
}

/** @throws {VerifyError} a saved SAE is not what the run saved */
export function checkSaved(
  context: RunContext,
  layers: readonly number[],
  files: readonly OutgoingFile[],
): void {
  const found = new Map(files.map(({ path, sha256 }) => [path, sha256]));
  for (const layer of layers) {
    const id = exportedId(context, layer);
    for (const [name, recorded] of Object.entries(exportRecord(context, layer).files))
      if (found.get(`${id}/${name}`) !== recorded)
        throw new VerifyError(
          `${id}/${name} is not what the run saved; nothing was published`,
          `delete ${context.dir.sae(id)} and run the recipe again`,
        );
  }
}

/** Bytes of all files together. */
export function bytesOf(files: readonly OutgoingFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
