/** Stage `report`: what the run's result files and logs say, as one HTML page that opens offline. */
import { rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { stringify } from "yaml";
import { StateError } from "../../errors.ts";
import { loadComparedLatents } from "../../evals/latents/comparison-file.ts";
import type {
  LatentMovement,
  LayerFacts,
  Measurement,
  ReportFacts,
  SpliceFacts,
  ThresholdChoice,
  TrainingEvent,
  TrainingFacts,
} from "../../report/facts.ts";
import { renderReport } from "../../report/report.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { writeFileAtomically } from "../../storage/atomic.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashFile } from "../../storage/hash.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import { readJsonLines } from "../../train/log.ts";
import type { MetricsLine } from "../../train/metrics.ts";
import type { RunContext } from "../context.ts";
import { mapPaths, publicName } from "../recipe/file.ts";
import { heldOutRecipe, setNames } from "./corpus.ts";
import type { LayerEvals } from "./evaluate.ts";
import { exportedId } from "./export.ts";
import type { RunSplice } from "./splice.ts";
import type { ThresholdRecord } from "./thresholds.ts";
import type { Unit } from "./unit.ts";

export function reportUnit(context: RunContext): Unit {
  const path = context.dir.report;
  return {
    id: "report",
    stage: "report",
    layer: null,
    title: "report",
    isDerived: true,
    inputs: async () => ({
      results: Object.fromEntries(
        await Promise.all(
          (await resultFiles(context)).map(async (file) => [nameOf(context, file), await hashFile(file)]),
        ),
      ),
      recipe: mapPaths(context.recipe, publicName),
    }),
    files: () => [path],
    clear: () => rm(path, { force: true }),
    async run() {
      await writeFileAtomically(path, await reportText(context));
      return {};
    },
  };
}

/** The report as it stands. @throws {StateError} nothing has been measured or trained */
export async function reportText(context: RunContext): Promise<string> {
  const facts = await reportFacts(context);
  if (facts.layers.length === 0)
    throw new StateError(
      "no layer has been measured or trained yet",
      "run the stages before the report first",
    );
  return renderReport(facts);
}

/** Everything that a report shows, from the files of the run. */
export async function reportFacts(context: RunContext): Promise<ReportFacts> {
  const { recipe, state } = context;
  const layers = await Promise.all(recipe.layers.map((layer) => layerFacts(context, layer)));
  const files = await resultFiles(context);
  return {
    title: recipe.output.title ?? recipe.name,
    run: recipe.name,
    model: context.modelName,
    baseModel: recipe.baseModel && publicName(recipe.baseModel.source),
    source: "from" in recipe.sae ? publicName(recipe.sae.from) : null,
    gate: recipe.eval.gate,
    isImported: recipe.activations.import !== null,
    sets: setNames(context)
      .slice(1)
      .map((name) => ({
        name,
        sources: heldOutRecipe(context, name)?.sources.map(({ location }) => publicName(location)) ?? [],
      })),
    layers: layers.filter(({ measurements, trainings }) => measurements.length + trainings.length > 0),
    splices: await splicesOf(context),
    provenance: {
      recipe: stringify(mapPaths(recipe, publicName), { lineWidth: 100 }),
      files: await Promise.all(
        files.map(async (file) => ({ what: nameOf(context, file), sha256: await hashFile(file) })),
      ),
      software: state.versions,
      machine: machineOf(state.machine),
      seeds: [{ what: "training, shuffling, resampling", seed: recipe.seed }],
    },
  };
}

/** Result files and logs of the run that are there. */
async function resultFiles(context: RunContext): Promise<string[]> {
  const { recipe, dir } = context;
  const candidates = recipe.layers.flatMap((layer) => [
    ...(["before", "prepolish", "after"] as const).map((phase) => dir.evals(layer, phase)),
    dir.latentArrays(layer),
    ...savedConfig(context, layer),
    ...[false, true].flatMap((polish) =>
      ["metrics.jsonl", "events.jsonl"].map((name) => join(dir.train(layer, polish), name)),
    ),
  ]);
  candidates.push(dir.splice("before"), dir.splice("after"));
  const present = await Promise.all(candidates.map(async (file) => (await statIfPresent(file)) !== null));
  return candidates.filter((_, i) => present[i]);
}

function nameOf({ dir }: RunContext, file: string): string {
  return relative(dir.root, file).split("\\").join("/");
}

async function layerFacts(context: RunContext, layer: number): Promise<LayerFacts> {
  const { dir } = context;
  const [before, prepolish, after] = await Promise.all(
    (["before", "prepolish", "after"] as const).map((phase) =>
      readJsonIfPresent<LayerEvals>(dir.evals(layer, phase)),
    ),
  );
  const trainings = await Promise.all([
    readTraining(dir.train(layer, false), "training"),
    readTraining(dir.train(layer, true), "polish"),
  ]);
  return {
    layer,
    hookName: after?.hookName ?? before?.hookName ?? canonicalHookName(layer),
    measurements: [before, prepolish, after].flatMap(measurementsOf),
    deadInTraining: after?.deadInTraining ?? null,
    trainings: trainings.filter((training) => training !== null),
    movement: await readMovement(dir.latentArrays(layer)),
    calibration: await readThresholds(context, layer),
  };
}

/** Results of version 1 have neither intervals nor outliers nor slices: what is absent is shown as not measured. */
function measurementsOf(evals: LayerEvals | undefined): Measurement[] {
  return (evals?.results ?? []).map(({ model, set, isDomain, result, change }) => ({
    phase: model === "base" ? "home" : (evals as LayerEvals).phase,
    set,
    isDomain: isDomain ?? false,
    result: {
      ...result,
      metrics: Object.fromEntries(
        Object.entries(result.metrics).map(([name, metric]) => [
          name,
          { ...metric, interval: metric.interval ?? null },
        ]),
      ) as typeof result.metrics,
      nDocuments: result.nDocuments ?? 0,
      intervals: result.intervals ?? null,
      outliers: result.outliers ?? null,
      slices: result.slices ?? [],
    },
    change: change?.ve ?? null,
  }));
}

/** What the saved SAE's own configuration records of its threshold; null before there is one, and where it does not say. */
async function readThresholds(context: RunContext, layer: number): Promise<ThresholdChoice | null> {
  const [path] = savedConfig(context, layer);
  const config =
    path === undefined ? undefined : await readJsonIfPresent<{ metadata?: { lapidary?: unknown } }>(path);
  const record = (config?.metadata?.lapidary ?? {}) as Partial<ThresholdRecord>;
  const { threshold, topk_threshold, calibrated_threshold, calibration } = record;
  if (threshold === undefined || topk_threshold === undefined || calibrated_threshold === undefined)
    return null;
  if (calibration === undefined) return null;
  return {
    chosen: threshold,
    nTokens: calibration.tokens,
    average: { threshold: topk_threshold, l0: calibration.l0_ema },
    calibrated: { threshold: calibrated_threshold, l0: calibration.l0_calibrated },
  };
}

/** cfg.json of the saved SAE of a layer, if there is one. */
function savedConfig(context: RunContext, layer: number): string[] {
  const isExported = context.state.units[`export:${layer}`]?.state === "done";
  return isExported ? [join(context.dir.sae(exportedId(context, layer)), "cfg.json")] : [];
}

/** Predictions with the SAEs spliced in, of the layers and phases that were measured. */
async function splicesOf({ dir }: RunContext): Promise<SpliceFacts[]> {
  const phases = (["before", "after"] as const).map(async (phase) => {
    const splice = await readJsonIfPresent<RunSplice>(dir.splice(phase));
    return (splice?.results ?? []).map((result) => ({ phase, result }));
  });
  return (await Promise.all(phases)).flat();
}

async function readTraining(dir: string, name: TrainingFacts["name"]): Promise<TrainingFacts | null> {
  const metrics = await readJsonLines<MetricsLine>(join(dir, "metrics.jsonl"));
  const events = await readJsonLines<TrainingEvent>(join(dir, "events.jsonl"));
  return metrics === null ? null : { name, metrics, events: events ?? [] };
}

/** How far each latent turned, and how its firing frequency on the held-out sets together changed. */
async function readMovement(path: string): Promise<LatentMovement | null> {
  if ((await statIfPresent(path)) === null) return null;
  const { latents } = await loadComparedLatents(path);
  if (latents.byIndex === null || latents.byIndex.logFrequencyChange === null) return null;
  const { decoderCosine, logFrequencyChange } = latents.byIndex;
  return { decoderCosine, logFrequencyChange };
}

function machineOf(machine: Readonly<Record<string, unknown>>): Record<string, string> {
  const { platform, arch, cpu, cores, memoryBytes } = machine;
  return {
    processor: `${cpu}, ${cores} cores`,
    memory: `${(Number(memoryBytes) / 2 ** 30).toFixed(1)} GiB`,
    system: `${platform}, ${arch}`,
  };
}
