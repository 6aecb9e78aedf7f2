/**
 * Lapidary's public face on Node: everything of `lapidary`, and what needs files, the native engine or ONNX Runtime.
 * A program that goes the whole way calls `runRecipe`; one that goes part of it takes the pieces, which stand below in the
 * order an activation meets them.
 */

export * from "./index.ts";

// ── Where things are ─────────────────────────────────────────────────────────────────────────────────────────────────

/** A repository of the hub in a folder, every file checked against the hub's hash. */
export { type Pulled, type PullOptions, pull } from "./hub/pull.ts";
/** Cache folder, token and endpoint of the hub, from the environment or given. */
export { type HubSettings, hubSettings } from "./hub/settings.ts";
/** A folder, or `hf:owner/name[/sub/path][@revision]`, as a path on this disk; downloaded once, checked, cached. */
export { type ResolveOptions, resolveSource } from "./hub/source.ts";

// ── Engines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The C++ engine: fp32, multithreaded, the same bits for any number of threads. */
export { createNativeEngine } from "./kernels/native.ts";
/** The native engine where it loads, else the WebAssembly one, else the reference engine, and why. */
export { type EnginePreference, type SelectedEngine, selectEngine } from "./kernels/select.ts";
/** The same C++ as WebAssembly, in a worker: where the addon cannot be built. */
export { createWasmEngine } from "./kernels/wasm.ts";

// ── Corpus: texts and chats → token windows ──────────────────────────────────────────────────────────────────────────

/** Builds a set of windows on disk, mixed by kept tokens; goes on where it was stopped. */
export { buildCorpusSet, type CorpusProgress, type CorpusSetOptions } from "./corpus/build.ts";
/** Refuses sets that share documents. */
export { checkDisjoint } from "./corpus/disjoint.ts";
/** Where documents come from: files, folders, data sets on the hub. */
export type { CorpusSourceOptions } from "./corpus/sources/source.ts";
/** A tokenizer in this thread, for looking at tokens of a folder one trusts. */
export { Tokenizer } from "./corpus/tokenizer.ts";
/** The tokenizer's files in a model folder, and the facts read off them. */
export { readTokenizerFolder, type TokenizerFacts, type TokenizerFolder } from "./corpus/tokenizer-folder.ts";
/** A tokenizer in worker threads, each document under a time limit. */
export { TokenizerPool, type TokenizerPoolOptions } from "./corpus/tokenizer-pool.ts";
/** Opens a set of windows. */
export { openWindowSet } from "./corpus/window-set.ts";
/** Windows, and what their manifest records. */
export type { Role, WindowBatch, WindowSet, WindowsManifest } from "./corpus/windows.ts";
/** A text as windows in memory. */
export { windowsFromText } from "./corpus/windows-from-text.ts";

// ── Models: token windows → residual stream ──────────────────────────────────────────────────────────────────────────

/** Windows through a model into activation stores. */
export { type HarvestOptions, type HarvestProgress, type HarvestTimes, harvest } from "./harvest/harvest.ts";
/** Windows through a model into memory. */
export { harvestWindows } from "./harvest/harvest-windows.ts";
/** How windows are cut into batches and shards. */
export { type HarvestPlan, planHarvest } from "./harvest/plan.ts";
/** What a model folder holds: graphs, residual stream, sizes; nothing is run. */
export { type GraphSummary, inspectModel, type ModelInspection } from "./models/inspect.ts";
/** A model in ONNX Runtime, cut above the highest wanted layer and tapped at all of them. */
export { openResidualModel } from "./models/open-model.ts";
/** A model cut at several layers and before its unembedding, whose streams can be replaced. */
export { openSplicedModel } from "./models/open-spliced.ts";
/** A model that gives residual streams. */
export type { ModelInfo, OpenModelOptions, ResidualModel, TokenBatch } from "./models/residual-model.ts";
/** What can be done with it. */
export type {
  Intervention,
  OpenSplicedOptions,
  ScoredTokens,
  SplicedBatch,
  SplicedModel,
  TokenScores,
} from "./models/spliced-model.ts";

// ── Activation stores ────────────────────────────────────────────────────────────────────────────────────────────────

/** Rows, stores and their manifests. */
export type {
  ActivationRows,
  ActivationStore,
  BatchReader,
  StoreIdentity,
  StoreManifest,
} from "./activations/activations.ts";
/** Makes a store of activations from elsewhere: a SAELens cache, or safetensors files. */
export {
  type ImportHooks,
  type ImportOptions,
  type ImportProgress,
  importActivations,
} from "./activations/import.ts";
/** Opens a store; checksums are verified as shards are read. */
export { openActivationStore } from "./activations/store.ts";
/** Creates a store, or goes on with one, shard by shard. */
export {
  type ActivationWriter,
  openWriter,
  type ShardWindows,
  type WriterOptions,
} from "./activations/writer.ts";

// ── SAEs on disk ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Tensors by name in a safetensors file, read by range. */
/** Writes a safetensors file, whole or not at all. */
export {
  openSafetensors,
  type SafetensorsFile,
  type TensorInfo,
  type TensorToWrite,
  writeSafetensors,
} from "./formats/safetensors.ts";
/** Whether an SAE is the one that the contract beside it describes. */
export { type ContractCheck, type ContractDifference, checkContract } from "./publish/check.ts";
/** An SAE from any format that is read (docs/formats/saes.md), or the log10 firing frequencies beside it. */
export { type LoadOptions, loadSae, loadSparsity, loadTrainingSae } from "./sae/load.ts";
/** An SAE as a directory that SAELens loads. */
export { type SaveOptions, saveSae } from "./sae/save.ts";
/** An SAE in the format of SAELens or another library, and what is lost on the way. */
export { type Target, type WriteSaeOptions, type WrittenSae, writeSae } from "./sae/writers/write.ts";

// ── Evaluation ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Differences of two evaluations of the same documents, with paired intervals. */
export { type PairedDifference, pairedDifferences } from "./evals/bootstrap.ts";
/** Sums of each document's tokens: what intervals are drawn from, in memory and on disk. */
export { loadDocumentSums, saveDocumentSums } from "./evals/document-file.ts";
/** Those sums of one evaluation. */
export type { DocumentSums } from "./evals/documents.ts";
/** How well an SAE reconstructs a store, or rows in memory: streaming, in fp64, every number with its definition. */
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateRows,
  type RowsToEvaluate,
} from "./evals/evaluate.ts";
/** log10 of firing counts, as `sparsity.safetensors` holds them. */
export { log10Frequencies } from "./evals/firing.ts";
/** Two SAEs latent by latent: how far each moved, and which of the other is nearest to it. */
export { compareLatents, type LatentComparison } from "./evals/latents/comparison.ts";
/** What an SAE's weights say by themselves: cosines of encoder and decoder, nearest decoder rows, thresholds. */
export { type MeasuredGeometry, measureGeometry, type SaeGeometry } from "./evals/latents/geometry.ts";
/** What SAELens 6.18 and SAEBench 0.6.0 would report, defects and all. */
export { saebenchMetrics } from "./evals/other-programs/saebench.ts";
/** What these numbers are summed up from, batch by batch. */
export { SaelensStats } from "./evals/other-programs/saelens.ts";
/** What that found, each number with its definition. */
export type { SpliceMetrics, SpliceResult } from "./evals/splice/result.ts";
/** What SAEs do to the model's own predictions when they take the place of its residual stream. */
export {
  evaluateSplice,
  type SplicedTokenAt,
  type SpliceOptions,
  type SpliceProgress,
} from "./evals/splice/splice.ts";
/** Windows for it: a set on disk, or a text's. */
export { type SpliceWindows, spliceWindows, windowsInMemory } from "./evals/splice/windows.ts";
/** What it finds. */
export type { TransferCell, TransferReport } from "./evals/transfer/report.ts";
/** Two SAEs on the same activations: metrics with paired intervals, latents matched, what fires on the same tokens. */
export { compareSaes } from "./pipeline/compare/compare.ts";
/** What that finds. */
export type { Comparison } from "./pipeline/compare/comparison.ts";
/** An SAE on a model and a text, in memory and in seconds. */
export { type EvaluateTextOptions, evaluateText } from "./pipeline/evaluate-text.ts";
/** Texts for it: one in memory, data files and data sets, the embedded held-out sets. */
export { dataText, embeddedText, plainText, type TransferText } from "./pipeline/transfer/texts.ts";
/** An SAE on several models, texts and stores: diagnosed and judged in words, as `lapidary eval` does. */
export { evaluateTransfer, type Named, type TransferOptions } from "./pipeline/transfer/transfer.ts";
/** The cheap fixes: an SAE for activations of another mean or scale, in closed form. */
export { foldInputMap, type InputMap, recentring, rescaling } from "./sae/closed-form.ts";

// ── Training ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Thresholds at which L0 on held-out rows is k, for all latents or one a latent. */
export {
  type Calibration,
  calibrateLatents,
  calibrateThreshold,
  type LatentCalibration,
} from "./train/calibration.ts";
/** Everything that decides a training run beside its activations and its start, and what is watched by default. */
export {
  DEFAULT_WATCH,
  type EarlyStopConfig,
  type GuardConfig,
  type ResamplingConfig,
  type ScheduleName,
  type TrainConfig,
  type WatchConfig,
} from "./train/config.ts";
/** What finished training left: the SAE in its training form, the last or the best, and the facts. */
export {
  type FinishedTraining,
  readFinishedTraining,
  trainedSae,
  type WhichSae,
} from "./train/final-checkpoint.ts";
/** How training goes, and how it went. */
export type { Incident, ResamplingNote, TrainOutcome, TrainProgress } from "./train/progress.ts";
/** Trains an SAE on a store, with checkpoints; the same call goes on after any interruption. */
export { type TrainOptions, type TrainStart, train } from "./train/trainer.ts";

// ── Latent indexes ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Rows of an index, as they are read. */
export type {
  ExampleRow,
  HistogramRow,
  LatentPage,
  LatentRow,
  LogitRow,
  NeighbourRow,
  SplitRow,
} from "./dashboard/index-rows.ts";
/** What an index is of. */
export type { IndexManifest } from "./dashboard/manifest.ts";
/** Opens a latent index: a latent's page, lists of latents, any SELECT over its tables. */
export {
  type LatentCondition,
  type LatentIndex,
  type LatentQuery,
  type OpenIndexOptions,
  openIndex,
} from "./dashboard/open-index.ts";
/** The folder of an index, named itself or as one of a run's. */
export { findIndex, type WhichIndex } from "./pipeline/indexing/find-index.ts";
/** Indexes a run's layers, as `lapidary index` does. */
export { type IndexRunOptions, indexRun } from "./pipeline/indexing/index-run.ts";
/** Indexes any SAE, on a store or on texts. */
export { type IndexSaeOptions, indexSae } from "./pipeline/indexing/index-sae.ts";
/** What that made. */
export type { MadeIndex } from "./pipeline/indexing/make-index.ts";

// ── What latents do ──────────────────────────────────────────────────────────────────────────────────────────────────

/** What a stored label predicts of a token. */
export { type Trigger, triggerOf } from "./dashboard/labels/trigger.ts";
/** Labels of latents by what they fire on, without a language model. */
export { TriggerFinder, type TriggerLimits } from "./dashboard/labels/trigger-finder.ts";
/** What a latent promotes: its decoder row through the model's own head. */
export {
  type LogitLensOptions,
  logitLensMemory,
  type ModelLogitLens,
  openLogitLens,
} from "./dashboard/logits/open-logit-lens.ts";
/** Neuronpedia's API, with a key. */
export { type ClientSettings, NeuronpediaClient } from "./dashboard/neuronpedia/client.ts";
/** An open index as SAEDashboard's batch files. */
export { type DashboardOptions, writeDashboardBatches } from "./dashboard/neuronpedia/dashboard-folder.ts";
/** An open index as Neuronpedia's export folder. */
export {
  type ExportOptions,
  exportNeuronpedia,
  type WrittenFolder,
} from "./dashboard/neuronpedia/export-folder.ts";
/** Uploads an open index to Neuronpedia; the same call goes on after any interruption. */
export { type UploadOptions, type UploadResult, uploadNeuronpedia } from "./dashboard/neuronpedia/upload.ts";

// ── Explanations ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What `explanations.parquet` and `explanations.json` hold. */
export type { ExplanationsManifest, ExplanationsRun } from "./dashboard/explanations.ts";
/** A request as a plan shows it. */
export type { ChatRequest } from "./explain/chat.ts";
/** Where a language model is reached: any OpenAI-compatible endpoint. */
export type { EndpointOptions } from "./explain/endpoint.ts";
/** A row of explanations, by column. */
export type { ExplanationRow } from "./explain/explanations.ts";
/** What explaining would take, before anything is sent. */
export type { ExplainPlan } from "./explain/plan.ts";
/** That plan of an index; and what explaining comes to. */
export { type ExplainSummary, planExplain } from "./explain/run.ts";
/** What may be asked for. */
export type { ExplainOptions, ExplainProgress, ExplainSettings } from "./explain/settings.ts";
/** Explains latents of an index by itself, and scores that; the same call goes on after any interruption. */
export { explainIndex } from "./pipeline/explaining/explain-index.ts";
/** The same of a run's index, whose activations prove where latents are silent; and its plan. */
export { type ExplainRunOptions, explainRun, planExplainRun } from "./pipeline/explaining/explain-run.ts";

// ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Typed text through a model and its SAEs, and steered text beside the plain. */
export { type Live, type LiveIndex, LiveModel, type LiveModelOptions } from "./dashboard/live/live-model.ts";
/** What it is asked, and what it answers. */
export type {
  Encoded,
  EncodedToken,
  EncodeRequest,
  SteerEvent,
  SteerRequest,
} from "./dashboard/live.ts";
/** The local server of a site, as `lapidary serve` runs it. */
export {
  type RunningServer,
  type ServerEvent,
  type ServerOptions,
  startServer,
} from "./dashboard/server/server.ts";
/** What the page is told there is. */
export type { Site, SiteIndex } from "./dashboard/site.ts";
/** A file of a site. */
export type { SiteFile } from "./dashboard/site-files.ts";
/** A site as a folder of files, for any file host. */
export { exportSite, type SiteExportOptions } from "./pipeline/serving/export-site.ts";
/** Runs and indexes as a site: its files, and the model that can be asked. */
export { type OpenedSite, openSite, type SiteOptions } from "./pipeline/serving/site.ts";

// ── Recipes and runs ─────────────────────────────────────────────────────────────────────────────────────────────────

/** What a run tells while it works. */
export type { Progress, RunEvent, RunOptions } from "./pipeline/context.ts";
/** What a recipe will need: tokens, steps, disk and memory a stage. */
export { type KnownSizes, planRecipe, type StagePlan } from "./pipeline/plan.ts";
/** What publishing a finished run would send; nothing is sent. */
export { type PublishOptions, type PublishPlan, planPublication } from "./pipeline/publishing/plan.ts";
/** A finished run to the hub, downloaded again and verified; the same call goes on after any interruption. */
export { type Published, publishRun } from "./pipeline/publishing/publish.ts";
/** Recipes from files or objects, and as YAML with every default written out. */
export { type LoadedRecipe, loadRecipe, parseRecipe, stringifyRecipe } from "./pipeline/recipe/file.ts";
/** Runs a recipe, or some of its stages and layers; starting, going on and asking again are the same call. */
export { type PipelineOptions, type RunSummary, runRecipe } from "./pipeline/run.ts";
/** A recipe with several seeds: a run each, what does not depend on the seed made once, and how far they differ. */
export { runSeeds, type SeedsSummary } from "./pipeline/seeds/seeds.ts";
/** The stages of a run, in order. */
export { STAGES, type StageName } from "./pipeline/stages/unit.ts";
