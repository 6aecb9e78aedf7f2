/**
 * Stage `verify`: what was saved is what was measured. Loads the exported directory afresh, evaluates it again on the
 * same stores, and compares every file's hash and every metric with what the run recorded.
 */
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { VerifyError } from "../../errors.ts";
import type { EvalResult } from "../../evals/result.ts";
import { loadSae } from "../../sae/load.ts";
import { writeJson } from "../../storage/atomic.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashFile } from "../../storage/hash.ts";
import type { Progress, RunContext } from "../context.ts";
import { evaluateLayer, readLayerEvals } from "./evaluate.ts";
import { exportedId } from "./export.ts";
import { isLayerPolished } from "./polish-choice.ts";
import type { Unit } from "./unit.ts";

/** Largest relative difference between a recorded and a recomputed metric (absolute below 1). */
export const VERIFY_TOLERANCE = 1e-6;

export interface Difference {
  readonly what: string;
  readonly recorded: string | number;
  readonly found: string | number;
}

export function verifyUnit(context: RunContext, layer: number): Unit {
  return {
    id: `verify:${layer}`,
    stage: "verify",
    layer,
    title: `verify layer ${layer}`,
    isDerived: true,
    inputs: async () => ({
      export: exportRecord(context, layer).files,
      results: finalResults(context, layer),
    }),
    files: () => [context.dir.verification(layer)],
    clear: () => rm(context.dir.verification(layer), { force: true }),
    async run(report) {
      const differences = await verifyLayer(context, layer, report);
      if (differences.length > 0) throw differenceError(context, layer, differences);
      await writeJson(context.dir.verification(layer), {
        format: "lapidary-verification",
        version: 1,
        layer,
        tolerance: VERIFY_TOLERANCE,
        differences,
      });
      return { verified: true };
    },
  };
}

/**
 * Every difference between the exported directory of a layer (or a copy of it, in `folder`) and the run's records; none:
 * it is verified.
 */
export async function verifyLayer(
  context: RunContext,
  layer: number,
  report: (progress: Progress) => void,
  folder: string = context.dir.sae(exportedId(context, layer)),
): Promise<Difference[]> {
  const differences = await compareFiles(folder, exportRecord(context, layer).files);
  if (differences.length > 0) return differences;
  const recorded = await readLayerEvals(context.dir.evals(layer, "after"));
  const sae = await loadSae(folder);
  const { evals: found } = await evaluateLayer(context, {
    sae,
    layer,
    models: ["model"],
    phase: "after",
    deadInTraining: recorded.deadInTraining,
    report,
  });
  const measured = recorded.results.flatMap(({ set, result }) => {
    const again = found.results.find((other) => other.set === set);
    return again === undefined
      ? [{ what: `${set}: results`, recorded: "present", found: "absent" }]
      : compareResults(set, result, again.result);
  });
  // whatever else the file says: it must be the file that was written
  return measured.length > 0 ? measured : compareResultsFile(context, layer);
}

async function compareResultsFile(context: RunContext, layer: number): Promise<Difference[]> {
  const path = context.dir.evals(layer, "after");
  const recorded = finalResults(context, layer);
  const found = await hashFile(path);
  return found === recorded
    ? []
    : [{ what: `${basename(path)} (sha-256)`, recorded: recorded.slice(0, 12), found: found.slice(0, 12) }];
}

function differenceError(
  context: RunContext,
  layer: number,
  differences: readonly Difference[],
): VerifyError {
  return new VerifyError(
    `${exportedId(context, layer)} is not what was measured: ${differencesText(differences)}`,
    "the saved files or the recorded results were changed: delete the folder of the saved SAE and run the recipe again",
  );
}

/** The first few differences, in words. */
export function differencesText(differences: readonly Difference[]): string {
  const shown = differences
    .slice(0, 4)
    .map(({ what, recorded, found }) => `${what}: recorded ${recorded}, found ${found}`);
  const more = differences.length > 4 ? `; and ${differences.length - 4} more` : "";
  return `${shown.join("; ")}${more}`;
}

/** The record of the export that lies on disk: the polished one where there is one. */
export function exportRecord(
  context: RunContext,
  layer: number,
): { id: string; files: Record<string, string> } {
  const unit = isLayerPolished(context, layer) ? `polish-export:${layer}` : `export:${layer}`;
  return context.state.output(unit) as unknown as { id: string; files: Record<string, string> };
}

/** Hash of the result file that stands at the end. */
function finalResults(context: RunContext, layer: number): string {
  const unit = isLayerPolished(context, layer) ? `polish-after:${layer}` : `after:${layer}`;
  return context.state.output(unit).results as string;
}

async function compareFiles(dir: string, recorded: Readonly<Record<string, string>>): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const [name, hash] of Object.entries(recorded)) {
    const path = join(dir, name);
    const found = (await statIfPresent(path)) === null ? "absent" : await hashFile(path);
    if (found !== hash)
      differences.push({ what: `${name} (sha-256)`, recorded: hash.slice(0, 12), found: found.slice(0, 12) });
  }
  return differences;
}

/** Metrics of one set that differ by more than the tolerance. */
function compareResults(set: string, recorded: EvalResult, found: EvalResult): Difference[] {
  return (Object.keys(recorded.metrics) as (keyof EvalResult["metrics"])[]).flatMap((name) => {
    const [before, now] = [recorded.metrics[name].value, found.metrics[name]?.value ?? null];
    const isSame =
      before === now ||
      (before !== null &&
        now !== null &&
        Math.abs(now - before) <= VERIFY_TOLERANCE * Math.max(1, Math.abs(before)));
    return isSame
      ? []
      : [{ what: `${set}: ${name}`, recorded: before ?? "undefined", found: now ?? "undefined" }];
  });
}
