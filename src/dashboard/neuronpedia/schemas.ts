/**
 * Neuronpedia's three formats, key by key, in their own spelling. Nothing else may stand in them: the importer takes its
 * columns from the first line's keys, and the database refuses what it has no column for.
 *
 * Sources  SAEDashboard neuronpedia_dashboard.py and neuronpedia_export.py · Neuronpedia lib/db/import.ts, prisma/schema.prisma
 *          and api/feature/upload-batch
 */
import { z } from "zod";

/** Rows of the correlations, alignments and logits; histograms. */
const TOLD = 3;
const LOGITS = 20;
const BINS = 50;

const finite = z.number();
const count = z.number().int().nonnegative();
const index = z.number().int().min(0).max(10_000_000);
const fraction = z.number().min(0).max(1);
/** The importer turns `\u0000` in the file's text into a space, wherever it stands. */
const token = z
  .string()
  .min(1)
  .refine((text) => !text.includes("\u0000") && !text.includes("\\u0000") && !/\p{Surrogate}/u.test(text));
const date = z.iso.datetime();
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/);
const sourceId = z.string().regex(/^\d+-[a-z0-9][a-z0-9._-]*$/);
const none = z.tuple([]);

/** Arrays that feature lines and SAEDashboard's features spell alike. */
const featureArrays = {
  neuron_alignment_indices: z.array(count).max(TOLD),
  neuron_alignment_values: z.array(finite).max(TOLD),
  neuron_alignment_l1: z.array(fraction).max(TOLD),
  correlated_neurons_indices: none,
  correlated_neurons_pearson: none,
  correlated_neurons_l1: none,
  correlated_features_indices: z.array(index).max(TOLD),
  correlated_features_pearson: z.array(finite.min(-1).max(1)).max(TOLD),
  correlated_features_l1: z.array(finite.min(-1).max(1)).max(TOLD),
  neg_str: z.array(token).max(LOGITS),
  neg_values: z.array(finite).max(LOGITS),
  pos_str: z.array(token).max(LOGITS),
  pos_values: z.array(finite).max(LOGITS),
  frac_nonzero: fraction,
  freq_hist_data_bar_heights: z.array(count).max(BINS),
  freq_hist_data_bar_values: z.array(finite).max(BINS),
  logits_hist_data_bar_heights: z.array(count).max(BINS),
  logits_hist_data_bar_values: z.array(finite).max(BINS),
  decoder_weights_dist: none,
};

/** −1, −1 and the latent's maximum: among the largest. */
const bin = { min: finite.min(-1), max: finite.min(0), contains: finite.min(-1).max(1) };

export const dashboardActivation = z.strictObject({
  bin_min: bin.min,
  bin_max: bin.max,
  bin_contains: bin.contains,
  tokens: z.array(token).min(1),
  values: z.array(finite).min(1),
  qualifying_token_index: count,
});

export const dashboardFeature = z.strictObject({
  feature_index: index,
  ...featureArrays,
  n_prompts_total: count,
  n_tokens_in_prompt: count,
  dataset: z.string(),
  activations: z.array(dashboardActivation),
  vector: none,
});

/** (i) A batch file of SAEDashboard. */
export const dashboardBatch = z.strictObject({
  model_id: name,
  layer: count,
  sae_set: name,
  sae_id_suffix: name.nullable(),
  features: z.array(dashboardFeature).min(1),
});

/** (ii) A line of `features/batch-N.jsonl.gz`. */
export const featureLine = z.strictObject({
  modelId: name,
  layer: sourceId,
  index: z.string().regex(/^\d+$/),
  creatorId: z.string(),
  createdAt: date,
  maxActApprox: finite.min(0),
  hasVector: z.literal(false),
  vector: none,
  vectorLabel: z.null(),
  vectorDefaultSteerStrength: finite,
  hookName: z.string().nullable(),
  topkCosSimIndices: z.array(index),
  topkCosSimValues: z.array(finite.min(-1).max(1)),
  ...featureArrays,
  sourceSetName: name,
});

/** (ii) A line of `activations/batch-N.jsonl.gz`. */
export const activationLine = z.strictObject({
  id: z.string().regex(/^c[0-9a-z]{24}$/),
  tokens: z.array(token).min(1),
  index: z.string().regex(/^\d+$/),
  layer: sourceId,
  modelId: name,
  maxValue: finite,
  maxValueTokenIndex: count,
  minValue: finite,
  values: z.array(finite).min(1),
  creatorId: z.string(),
  dataSource: z.null(),
  dataIndex: z.null(),
  dfaValues: none,
  dfaTargetIndex: z.null(),
  dfaMaxValue: z.null(),
  createdAt: date,
  lossValues: none,
  logitContributions: z.null(),
  binMin: bin.min,
  binMax: bin.max,
  binContains: bin.contains,
  qualifyingTokenIndex: count,
  zIndices: z.null(),
  zValues: z.null(),
});

/**
 * (ii) A line of `explanations/batch-N.jsonl.gz`. Method and model are keys of tables that Neuronpedia's maintainers fill: a
 * name that is not there would fail the whole file, so they are null and stand in the notes.
 */
export const explanationLine = z.strictObject({
  id: z.string().regex(/^c[0-9a-z]{24}$/),
  modelId: name,
  layer: sourceId,
  index: z.string().regex(/^\d+$/),
  description: token,
  authorId: z.string(),
  triggeredByUserId: z.null(),
  notes: token,
  typeName: z.null(),
  explanationModelName: z.null(),
  createdAt: date,
});

const visibility = z.enum(["PUBLIC", "UNLISTED", "PRIVATE"]);

/** (ii) The one line of `release.jsonl`. */
export const releaseLine = z.strictObject({
  name,
  description: z.string(),
  descriptionShort: z.string(),
  creatorName: z.string(),
  creatorNameShort: z.string(),
  creatorId: z.string(),
  creatorEmail: z.null(),
  urls: z.array(z.string()),
  visibility,
  isNewUi: z.boolean(),
  featured: z.boolean(),
  defaultSourceSetName: z.null(),
  defaultSourceId: z.null(),
  defaultUmapSourceIds: none,
  createdAt: date,
});

/** (ii) The one line of `model.jsonl`; a model that Neuronpedia has stays as it is. */
export const modelLine = z.strictObject({
  id: name,
  instruct: z.boolean(),
  displayNameShort: z.string(),
  displayName: z.string(),
  creatorId: z.string(),
  tlensId: z.null(),
  dimension: count,
  visibility,
  inferenceEnabled: z.literal(false),
  layers: count,
  neuronsPerLayer: count,
  createdAt: date,
  owner: z.string(),
  updatedAt: date,
  website: z.null(),
});

/** (ii) The one line of `sourceset.jsonl`. */
export const sourceSetLine = z.strictObject({
  modelId: name,
  name,
  creatorId: z.string(),
  creatorName: z.string(),
  creatorEmail: z.null(),
  hasDashboards: z.literal(true),
  visibility,
  description: z.string(),
  type: z.string(),
  urls: z.array(z.string()),
  releaseName: name,
  defaultRange: count,
  defaultShowBreaks: z.boolean(),
  showDfa: z.literal(false),
  showCorrelated: z.literal(true),
  showHeadAttribution: z.literal(false),
  showUmap: z.literal(false),
  createdAt: date,
});

/** (ii) The one line of `source.jsonl`. `saelensConfig` is a JSON column, for which the database refuses a plain null: it is left out. */
export const sourceLine = z.strictObject({
  id: sourceId,
  modelId: name,
  setName: name,
  creatorId: z.string(),
  hasDashboards: z.literal(true),
  inferenceEnabled: z.literal(false),
  saelensRelease: z.null(),
  saelensSaeId: z.null(),
  hfRepoId: z.string().nullable(),
  hfFolderId: z.string().nullable(),
  visibility,
  hasUmap: z.literal(false),
  hasUmapLogSparsity: z.literal(false),
  hasUmapClusters: z.literal(false),
  num_prompts: count,
  num_tokens_in_prompt: count,
  dataset: z.string(),
  notes: z.string(),
  createdAt: date,
});

const upTo = (most: number) => z.array(z.strictObject({ token, value: finite })).max(most);

export const uploadActivation = z.strictObject({
  tokens: z.array(token).min(1).max(1024),
  values: z.array(finite).min(1).max(1024),
  quantileMin: finite.max(99_999_999).nullable(),
  quantileMax: finite.max(99_999_999).nullable(),
  quantileFraction: fraction.nullable(),
});

export const uploadFeature = z.strictObject({
  index,
  density: fraction,
  topLogits: upTo(LOGITS),
  bottomLogits: upTo(LOGITS),
  activations: z.array(uploadActivation).min(1),
});

/** (iii) The body of `POST /api/feature/upload-batch`. */
export const uploadBatch = z.strictObject({
  modelId: name,
  source: sourceId,
  features: z.array(uploadFeature).min(1).max(128),
});

export type DashboardFeature = z.infer<typeof dashboardFeature>;
export type DashboardBatch = z.infer<typeof dashboardBatch>;
export type FeatureLine = z.infer<typeof featureLine>;
export type ActivationLine = z.infer<typeof activationLine>;
export type ExplanationLine = z.infer<typeof explanationLine>;
export type ReleaseLine = z.infer<typeof releaseLine>;
export type ModelLine = z.infer<typeof modelLine>;
export type SourceSetLine = z.infer<typeof sourceSetLine>;
export type SourceLine = z.infer<typeof sourceLine>;
export type UploadFeature = z.infer<typeof uploadFeature>;
export type UploadBatch = z.infer<typeof uploadBatch>;
