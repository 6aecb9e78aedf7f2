/** Stage `card`: gathers what the run's result files say and writes the model card, in the run and in the repository. */
import { join } from "node:path";
import type { StoreManifest } from "../../activations/activations.ts";
import type { WindowsManifest } from "../../corpus/windows.ts";
import { StateError } from "../../errors.ts";
import { type BeforeAfterRow, scoreOf } from "../../evals/table.ts";
import { renderCard } from "../../publish/card.ts";
import type { CardFacts, CardLayer } from "../../publish/card-facts.ts";
import { loadSaeFacts } from "../../sae/load.ts";
import { removeFiles, writeFileAtomically } from "../../storage/atomic.ts";
import { hashValue } from "../../storage/hash.ts";
import { readJson, readJsonIfPresent } from "../../storage/json.ts";
import type { AuditState } from "../../train/progress.ts";
import type { RunContext } from "../context.ts";
import { modelFiles } from "../model-identity.ts";
import { type Publication, readPublication } from "../publishing/publication.ts";
import { isHubId, mapPaths, publicName } from "../recipe/file.ts";
import { softwareVersions } from "../versions.ts";
import { heldOutRecipe } from "./corpus.ts";
import { type LayerEvals, readLayerEvals } from "./evaluate.ts";
import { exportedId } from "./export.ts";
import { keptTraining, trainingRecord } from "./kept.ts";
import { isLayerPolished } from "./polish-choice.ts";
import type { ThresholdRecord } from "./thresholds.ts";
import { trainConfig } from "./train.ts";
import type { Unit } from "./unit.ts";

export function cardUnit(context: RunContext): Unit {
  const files = [context.dir.card, join(context.dir.repository, "README.md")];
  return {
    id: "card",
    stage: "card",
    layer: null,
    title: "model card",
    isDerived: true,
    inputs: async () => ({
      layers: finishedLayers(context).map((layer) => [
        layer,
        context.state.units[`verify:${layer}`]?.output ?? null,
        afterOutput(context, layer),
      ]),
      recipe: mapPaths(context.recipe, publicName),
      ...(await publishedInput(context)),
    }),
    files: () => files,
    clear: () => removeFiles(files),
    async run() {
      const card = await cardText(context, await readPublication(context, finishedLayers(context)));
      for (const file of files) await writeFileAtomically(file, card);
      return {};
    },
  };
}

/** The card as it stands; `publication` null: not published, or not as it is now. */
export async function cardText(context: RunContext, publication: Publication | null): Promise<string> {
  if (finishedLayers(context).length === 0)
    throw new StateError("no layer has been evaluated yet", "run the stages before the card first");
  return renderCard(await cardFacts(context, publication));
}

async function publishedInput(context: RunContext): Promise<{ published?: Publication }> {
  const published = await readPublication(context, finishedLayers(context));
  return published === null ? {} : { published };
}

/** Layers of the recipe whose `after` is done, and is of the SAE that was trained last. */
export function finishedLayers(context: RunContext): number[] {
  const { recipe, state } = context;
  return recipe.layers.filter((layer) => {
    const [trained, exported, after] = ["train", "export", "after"].map(
      (id) => state.units[`${id}:${layer}`],
    );
    if ([trained, exported, after].some((unit) => unit?.state !== "done")) return false;
    const { weightsHash } = keptTraining(context, `train:${layer}`);
    const { weights } = exported.inputs as { weights: unknown };
    const { export: evaluated } = after.inputs as { export: unknown };
    return weights === weightsHash && hashValue(evaluated) === hashValue(exported.output?.files);
  });
}

function afterOutput(context: RunContext, layer: number): unknown {
  return context.state.output(isLayerPolished(context, layer) ? `polish-after:${layer}` : `after:${layer}`);
}

/** Rows of the before/after table, one a finished layer. */
export async function tableRows(context: RunContext): Promise<BeforeAfterRow[]> {
  return Promise.all(
    finishedLayers(context).map(async (layer) => {
      const before = await readJsonIfPresent<LayerEvals>(context.dir.evals(layer, "before"));
      const after = await readLayerEvals(context.dir.evals(layer, "after"));
      const pick = (evals: LayerEvals | undefined, model: "model" | "base") =>
        (evals?.results ?? [])
          .filter((entry) => entry.model === model && !entry.isDomain)
          .map(({ result }) => scoreOf(result));
      return {
        layer,
        base: pick(before, "base"),
        before: pick(before, "model"),
        after: pick(after, "model"),
        dead: after.deadInTraining,
        belowGate: isBelowGate(context, after),
      };
    }),
  );
}

/** Is the final VE of a layer below the recipe's gate on any set? */
function isBelowGate(context: RunContext, after: LayerEvals): boolean {
  const { gate } = context.recipe.eval;
  return (
    gate !== null &&
    after.results.some(
      ({ isDomain, result }) => !isDomain && !((result.metrics.ve.value ?? Number.NEGATIVE_INFINITY) >= gate),
    )
  );
}

/** Finished layers below the gate. */
export async function layersBelowGate(context: RunContext): Promise<number[]> {
  const evals = await Promise.all(
    finishedLayers(context).map((layer) => readLayerEvals(context.dir.evals(layer, "after"))),
  );
  return evals.filter((after) => isBelowGate(context, after)).map(({ layer }) => layer);
}

async function cardFacts(context: RunContext, publication: Publication | null): Promise<CardFacts> {
  const { recipe, dir } = context;
  const train = await readJsonIfPresent<WindowsManifest>(join(dir.corpus("train"), "manifest.json"));
  const layers = await Promise.all(finishedLayers(context).map((layer) => cardLayer(context, layer)));
  const first = await readLayerEvals(dir.evals(layers[0].layer, "after"));
  const config = trainConfig(recipe);
  const resampling = recipe.train.resampling;
  return {
    title: recipe.output.title ?? `${recipe.name}: SAEs for ${publicName(recipe.model.source)}`,
    model: context.modelName,
    isHubModel: isHubId(recipe.model.source),
    modelFiles: recipe.activations.import === null ? modelFiles(await context.inspectModel("model")) : [],
    baseModel: recipe.baseModel && publicName(recipe.baseModel.source),
    source: "from" in recipe.sae ? publicName(sourceOf(recipe.sae.from, layers)) : null,
    license: recipe.output.license,
    publication,
    rows: await tableRows(context),
    layers,
    sets: first.results
      .filter(({ isDomain }) => !isDomain)
      .map(({ set, result }) => ({
        name: set,
        nKept: result.nTokens,
        sources: recipeLocations(context, set),
      })),
    domains: await domainRows(context),
    training: {
      sources: recipe.corpus.sources.map(({ name, kind, location }) => ({
        name,
        kind,
        location: publicName(location),
        nKept: train?.sources.find((source) => source.name === name)?.nKept ?? null,
      })),
      nKept: await trainingRows(context, layers[0].layer),
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
    },
    contextSize: recipe.contextSize,
    prependBos: recipe.corpus.prependBos,
    excluded: train?.excludedTokenIds ?? recipe.corpus.excludeTokenIds,
    isImported: recipe.activations.import !== null,
    packing: recipe.corpus.packing,
    evalPacking: recipe.eval.packing ?? recipe.corpus.packing,
    gate: recipe.eval.gate,
    seed: recipe.seed,
    definitions: Object.fromEntries(
      Object.entries(first.results[0].result.metrics).map(([name, { definition }]) => [name, definition]),
    ),
    software: await softwareVersions(),
  };
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

async function trainingRows(context: RunContext, layer: number): Promise<number> {
  const { nRows } = await readJson<StoreManifest>(
    join(context.dir.activations("model", "train", layer), "manifest.json"),
  );
  return nRows;
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
  const facts = (config.metadata.lapidary ?? {}) as Partial<ThresholdRecord> & {
    architecture: string;
    k?: number;
    matryoshka_widths?: number[];
    sparsity_coefficient?: number;
  };
  const { architecture, k = null, sparsity_coefficient: sparsityCoefficient } = facts;
  return {
    layer,
    id,
    hookName: config.hookName ?? after.hookName,
    k,
    dIn: config.dIn,
    dSae: config.dSae,
    widths: facts.matryoshka_widths ?? [config.dSae],
    threshold: k === null ? null : kept[kept.length - 1].threshold,
    ...(sparsityCoefficient !== undefined && { learntRule: { architecture, sparsityCoefficient } }),
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
    polished,
    belowGate: isBelowGate(context, after),
    verified: context.state.units[`verify:${layer}`]?.state === "done",
    deadInTraining: after.deadInTraining,
    metrics: Object.fromEntries(
      after.results.map(({ set, result }) => [
        set,
        Object.fromEntries(Object.entries(result.metrics).map(([name, { value }]) => [name, value])),
      ]),
    ),
    neverFired: Object.fromEntries(after.results.map(({ set, result }) => [set, result.latents.nNeverFired])),
    incidents: records.flatMap(({ incidents }) => incidents),
    audit: together(records.map(({ audit }) => audit)),
    beforePolish:
      polished && prepolish !== undefined
        ? Object.fromEntries(prepolish.results.map(({ set, result }) => [set, result.metrics.ve.value]))
        : null,
  };
}
