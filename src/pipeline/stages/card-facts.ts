/** What the run's result files say, gathered for its card. */
import { join } from "node:path";
import type { StoreManifest } from "../../activations/activations.ts";
import type { WindowsManifest } from "../../corpus/windows.ts";
import { scoreOf } from "../../evals/table.ts";
import type { CardEvaluation, CardFacts, CardLayer } from "../../publish/card/facts.ts";
import { contractedCfg, describeTransform } from "../../publish/contract.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { loadSaeFacts } from "../../sae/load.ts";
import { readJson, readJsonIfPresent } from "../../storage/json.ts";
import type { AuditState } from "../../train/progress.ts";
import type { CardNotes } from "../card-notes.ts";
import type { RunContext } from "../context.ts";
import { modelFiles } from "../model-identity.ts";
import { publishedPaths } from "../publishing/files.ts";
import type { Publication } from "../publishing/publication.ts";
import { licenseOf, localLicense } from "../publishing/source-license.ts";
import { isHubId, publicName } from "../recipe/file.ts";
import { softwareVersions } from "../versions.ts";
import { heldOutRecipe, setNames } from "./corpus.ts";
import { type LayerEvals, readLayerEvals } from "./evaluate.ts";
import { exportedId } from "./export.ts";
import { finishedLayers, isBelowGate, tableRows } from "./finished.ts";
import { keptTraining, trainingRecord } from "./kept.ts";
import { isLayerPolished } from "./polish-choice.ts";
import type { RunSplice } from "./splice.ts";
import type { ThresholdRecord } from "./thresholds.ts";
import { trainConfig } from "./train.ts";

/** `publication` null: not published, or not as it is now. */
export async function cardFacts(
  context: RunContext,
  publication: Publication | null,
  notes: CardNotes,
): Promise<CardFacts> {
  const { recipe, dir } = context;
  const train = await readJsonIfPresent<WindowsManifest>(join(dir.corpus("train"), "manifest.json"));
  const layers = await Promise.all(finishedLayers(context).map((layer) => cardLayer(context, layer)));
  const first = await readLayerEvals(dir.evals(layers[0].layer, "after"));
  const activations = await readJson<StoreManifest>(
    join(dir.activations("model", "train", layers[0].layer), "manifest.json"),
  );
  const config = trainConfig(recipe);
  const sourceLicense = (await localLicense(context)) ?? notes.sourceLicense;
  const resampling = recipe.train.resampling;
  return {
    run: recipe.name,
    title: recipe.output.title ?? `${recipe.name}: SAEs for ${publicName(recipe.model.source)}`,
    model: context.modelName,
    isHubModel: isHubId(recipe.model.source),
    modelFiles: recipe.activations.import === null ? modelFiles(await context.inspectModel("model")) : [],
    baseModel: recipe.baseModel && publicName(recipe.baseModel.source),
    source: "from" in recipe.sae ? publicName(sourceOf(recipe.sae.from, layers)) : null,
    datasets: recipe.corpus.sources
      .filter(({ location }) => recipe.activations.import === null && isHubId(location))
      .map(({ location }) => publicName(location).split("/").slice(0, 2).join("/")),
    license: licenseOf(recipe, notes, sourceLicense),
    sourceLicense,
    publication,
    links: notes.links,
    files: await publishedPaths(context),
    rows: await tableRows(context),
    layers,
    sets: first.results
      .filter(({ isDomain }) => !isDomain)
      .map(({ set, result }) => ({
        name: set,
        nKept: result.nTokens,
        nDocuments: result.nDocuments ?? 0,
        sources: recipeLocations(context, set),
      })),
    domains: await domainRows(context),
    splices: await splicesOf(context),
    training: {
      sources: recipe.corpus.sources.map(({ name, kind, location }) => ({
        name,
        kind,
        location: publicName(location),
        nKept: train?.sources.find((source) => source.name === name)?.nKept ?? null,
      })),
      nKept: activations.nRows,
      epochs: config.epochs,
      batchTokens: config.batchTokens,
      lr: config.schedule.lr,
      schedule: config.schedule.name,
      thresholdLr: recipe.train.thresholdLr,
      auxCoefficient: recipe.train.auxCoefficient,
      resampling:
        resampling === null
          ? "off"
          : `at epoch boundaries, newcomers at ${resampling.scale} of the live median`,
      deadAfterTokens: config.deadAfterTokens,
      polish: `${recipe.polish.epochs} epoch${recipe.polish.epochs > 1 ? "s" : ""} at ${recipe.polish.lr}, no resampling`,
      isGuarded: recipe.train.guard !== null,
    },
    activationDtype: activations.dtype,
    contextSize: recipe.contextSize,
    prependBos: recipe.corpus.prependBos,
    bosTokenId: train?.bosTokenId ?? null,
    excluded: train?.excludedTokenIds ?? recipe.corpus.excludeTokenIds,
    chatTemplateHash: await chatTemplateHash(context),
    isImported: recipe.activations.import !== null,
    packing: recipe.corpus.packing,
    evalPacking: recipe.eval.packing ?? recipe.corpus.packing,
    gate: recipe.eval.gate,
    seed: recipe.seed,
    definitions: Object.fromEntries(
      Object.entries(first.results[0].result.metrics).map(([name, { definition }]) => [name, definition]),
    ),
    intervals: first.results[0].result.intervals ?? null,
    software: await softwareVersions(),
  };
}

/** Of the first set that has one; null where activations were imported. */
async function chatTemplateHash(context: RunContext): Promise<string | null> {
  const manifests = setNames(context).map((set) =>
    readJsonIfPresent<WindowsManifest>(join(context.dir.corpus(set), "manifest.json")),
  );
  const hashes = (await Promise.all(manifests)).map((manifest) => manifest?.chatTemplateHash ?? null);
  return hashes.find((hash) => hash !== null) ?? null;
}

/** Predictions with the SAEs spliced in, as far as they are of the SAEs that stand. */
async function splicesOf(context: RunContext): Promise<CardFacts["splices"]> {
  const phases = (["before", "after"] as const).map(async (phase) => {
    const isDone = context.state.units[`splice:${phase}`]?.state === "done";
    const splice = isDone ? await readJsonIfPresent<RunSplice>(context.dir.splice(phase)) : undefined;
    return (splice?.results ?? []).map((result) => ({ phase, result }));
  });
  return (await Promise.all(phases)).flat();
}

function calibrationOf({
  threshold,
  calibrated_threshold,
  calibration,
}: Partial<ThresholdRecord>): CardLayer["calibration"] {
  if (threshold === undefined || calibrated_threshold === undefined || calibration === undefined) return null;
  return {
    used: threshold,
    threshold: calibrated_threshold,
    l0: calibration.l0_calibrated,
    l0OfAverage: calibration.l0_ema,
    nTokens: calibration.tokens,
    sets: calibration.sets,
    perLatent:
      calibration.own_thresholds === undefined
        ? null
        : { nOwn: calibration.own_thresholds, l0: calibration.l0_per_latent ?? null },
  };
}

function together(audits: readonly (AuditState | undefined)[]): CardLayer["audit"] {
  const present = audits.filter((audit) => audit !== undefined);
  if (present.length === 0) return null;
  const sum = (what: "entries" | "missed") => present.reduce((total, audit) => total + audit[what], 0);
  return { entries: sum("entries"), missed: sum("missed") };
}

/** The source's name: of one layer with its number, of several as the recipe has it. */
function sourceOf(from: string, layers: readonly CardLayer[]): string {
  return layers.length === 1 ? from.replaceAll("{layer}", String(layers[0].layer)) : from;
}

function recipeLocations(context: RunContext, set: string): string[] {
  return heldOutRecipe(context, set)?.sources.map(({ location }) => publicName(location)) ?? [];
}

/** VE and L0 on the domains, before and after, one row a (layer, domain). */
async function domainRows(context: RunContext): Promise<CardFacts["domains"]> {
  const rows = await Promise.all(
    finishedLayers(context).map(async (layer) => {
      const before = await readJsonIfPresent<LayerEvals>(context.dir.evals(layer, "before"));
      const after = await readLayerEvals(context.dir.evals(layer, "after"));
      return after.results
        .filter(({ isDomain }) => isDomain)
        .map(({ set, result }) => {
          const source = before?.results.find((entry) => entry.model === "model" && entry.set === set);
          const { contextSize } = heldOutRecipe(context, set) ?? {};
          return {
            layer,
            domain: set,
            contextSize: contextSize ?? context.recipe.contextSize,
            nTokens: result.nTokens,
            sources: recipeLocations(context, set),
            before: source === undefined ? null : scoreOf(source.result),
            after: scoreOf(result),
          };
        });
    }),
  );
  return rows.flat();
}

async function cardLayer(context: RunContext, layer: number): Promise<CardLayer> {
  const after = await readLayerEvals(context.dir.evals(layer, "after"));
  const prepolish = await readJsonIfPresent<LayerEvals>(context.dir.evals(layer, "prepolish"));
  const polished = isLayerPolished(context, layer);
  const units = [`train:${layer}`, ...(polished ? [`polish:${layer}`] : [])];
  const records = units.map((unit) => trainingRecord(context, unit));
  const kept = units.map((unit) => keptTraining(context, unit));
  const id = exportedId(context, layer);
  const { config } = await loadSaeFacts(context.dir.sae(id));
  const cfg = contractedCfg(await readJson<Record<string, unknown>>(join(context.dir.sae(id), "cfg.json")));
  const facts = (config.metadata.lapidary ?? {}) as Partial<ThresholdRecord> & {
    architecture?: string;
    k?: number;
    matryoshka_widths?: number[];
    sparsity_coefficient?: number;
  };
  const { architecture = null, k = null, sparsity_coefficient: sparsityCoefficient } = facts;
  return {
    layer,
    id,
    hookName: config.hookName ?? after.hookName,
    hookPoint: canonicalHookName(layer),
    architecture: cfg.architecture,
    dtype: cfg.dtype,
    inputTransform: describeTransform(cfg),
    k,
    dIn: config.dIn,
    dSae: config.dSae,
    widths: facts.matryoshka_widths ?? [config.dSae],
    threshold: k === null ? null : kept[kept.length - 1].threshold,
    ...(sparsityCoefficient !== undefined &&
      architecture !== null && { learntRule: { architecture, sparsityCoefficient } }),
    trainedAs: architecture,
    calibration: calibrationOf(facts),
    steps: kept.reduce((sum, { steps }) => sum + steps, 0),
    tokens: kept.reduce((sum, { tokens }) => sum + tokens, 0),
    courses: records.map(({ steps, stoppedEarly, watch, resamplings = [] }, i) => ({
      isPolish: i === 1,
      totalSteps: stoppedEarly?.totalSteps ?? steps,
      steps,
      stopped: stoppedEarly?.what ?? null,
      last: watch?.last ?? null,
      best: watch?.best ?? null,
      keptStep: kept[i].steps,
      resamplings, // absent in records of older versions
    })),
    belowGate: isBelowGate(context, after),
    hasContract: context.state.units[`contract:${layer}`]?.state === "done",
    verified: context.state.units[`verify:${layer}`]?.state === "done",
    deadInTraining: after.deadInTraining,
    evaluations: after.results.map(evaluationOf),
    incidents: records.flatMap(({ incidents }) => incidents),
    audit: together(records.map(({ audit }) => audit)),
    beforePolish:
      polished && prepolish !== undefined
        ? Object.fromEntries(prepolish.results.map(({ set, result }) => [set, result.metrics.ve.value]))
        : null,
  };
}

function evaluationOf({ set, isDomain, result, change }: LayerEvals["results"][number]): CardEvaluation {
  return {
    set,
    isDomain: isDomain ?? false,
    nTokens: result.nTokens,
    nDocuments: result.nDocuments ?? 0, // this, and what follows with a default, is absent in results of version 1
    metrics: Object.fromEntries(
      Object.entries(result.metrics).map(([name, { value, interval }]) => {
        const paired = change?.[name as keyof typeof change];
        const isKnown = paired?.difference !== undefined && paired.difference !== null;
        return [
          name,
          {
            value,
            interval: interval ?? null,
            before: paired?.a ?? null,
            change: isKnown ? { difference: paired.difference as number, interval: paired.interval } : null,
          },
        ];
      }),
    ),
    nNeverFired: result.latents.nNeverFired,
    outliers: result.outliers ?? null,
    positions: (result.slices ?? []).find(({ by }) => by === "position")?.slices ?? [],
  };
}
