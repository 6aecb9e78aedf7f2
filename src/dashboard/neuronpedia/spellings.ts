/** A latent's record in each of Neuronpedia's spellings. */
import { UnsupportedError } from "../../errors.ts";
import { parseHookName } from "../../sae/hook-name.ts";
import { hashValue } from "../../storage/hash.ts";
import type { IndexManifest } from "../manifest.ts";
import { type NeuronpediaPlace, sourceIdOf } from "./place.ts";
import type { LatentExample, LatentRecord } from "./records.ts";
import type {
  ActivationLine,
  DashboardFeature,
  ExplanationLine,
  FeatureLine,
  UploadFeature,
} from "./schemas.ts";

/** Who and when, on every line. */
export interface Stamp {
  /** Neuronpedia's id of the user that the rows belong to */
  readonly creatorId: string;
  readonly createdAt: Date;
}

/** Groups of the largest activations have no interval: −1 stands for it, and for the share of tokens in it. */
const NO_INTERVAL = -1;
/** Neuronpedia's default of a column that does not apply to latents of an SAE. */
const STEER_STRENGTH = 10;

/** What feature lines and SAEDashboard's features spell alike. */
function sharedArrays(record: LatentRecord) {
  return {
    neuron_alignment_indices: record.aligned.map(({ dimension }) => dimension),
    neuron_alignment_values: record.aligned.map(({ value }) => value),
    neuron_alignment_l1: record.aligned.map(({ share }) => share),
    correlated_neurons_indices: [] as [],
    correlated_neurons_pearson: [] as [],
    correlated_neurons_l1: [] as [],
    correlated_features_indices: record.correlated.map(({ latent }) => latent),
    correlated_features_pearson: record.correlated.map(({ pearson }) => pearson),
    // A cosine, whatever the name says: so SAEDashboard fills it.
    correlated_features_l1: record.correlated.map(({ cosine }) => cosine),
    neg_str: record.bottom.map(({ token }) => token),
    neg_values: record.bottom.map(({ value }) => value),
    pos_str: record.top.map(({ token }) => token),
    pos_values: record.top.map(({ value }) => value),
    frac_nonzero: record.density,
    freq_hist_data_bar_heights: [...record.activationHistogram.heights],
    freq_hist_data_bar_values: [...record.activationHistogram.values],
    logits_hist_data_bar_heights: [...record.logitHistogram.heights],
    logits_hist_data_bar_values: [...record.logitHistogram.values],
    decoder_weights_dist: [] as [],
  };
}

function binOf({ interval }: LatentExample, { maxAct }: LatentRecord) {
  return interval === null
    ? { min: NO_INTERVAL, max: maxAct, contains: NO_INTERVAL }
    : { min: interval.min, max: interval.max, contains: interval.share };
}

/** The set's size as Neuronpedia tells it: prompts, and tokens in each, here the mean of the documents. */
export function promptsOf({ data }: IndexManifest): {
  readonly nPrompts: number;
  readonly nTokensInPrompt: number;
} {
  const { nDocuments, nTokens } = data;
  return {
    nPrompts: nDocuments,
    nTokensInPrompt: nDocuments === 0 ? 0 : Math.round(nTokens / nDocuments),
  };
}

/** In TransformerLens' words, which Neuronpedia uses; a name that is not understood as it is. */
export function hookNameOf({ sae }: Pick<IndexManifest, "sae">): string | null {
  if (sae.hookName === null) return null;
  try {
    const { layer, site } = parseHookName(sae.hookName);
    return `blocks.${layer}.${site.includes("hook_") ? site : `hook_${site}`}`;
  } catch (error) {
    if (error instanceof UnsupportedError) return sae.hookName;
    throw error;
  }
}

export function featureLineOf(
  record: LatentRecord,
  place: NeuronpediaPlace,
  { creatorId, createdAt }: Stamp,
  hookName: string | null,
): FeatureLine {
  return {
    modelId: place.modelId,
    layer: sourceIdOf(place),
    index: String(record.latent),
    creatorId,
    createdAt: createdAt.toISOString(),
    maxActApprox: record.maxAct,
    hasVector: false,
    vector: [],
    vectorLabel: null,
    vectorDefaultSteerStrength: STEER_STRENGTH,
    hookName,
    topkCosSimIndices: record.similar.map(({ latent }) => latent),
    topkCosSimValues: record.similar.map(({ cosine }) => cosine),
    ...sharedArrays(record),
    sourceSetName: place.setName,
  };
}

/** One line an example. Ids follow from what the index holds and where it goes, so that the same export has the same. */
export function activationLinesOf(
  record: LatentRecord,
  place: NeuronpediaPlace,
  { creatorId, createdAt }: Stamp,
  indexHash: string,
): ActivationLine[] {
  const layer = sourceIdOf(place);
  return record.examples.map((example) => {
    const bin = binOf(example, record);
    const values = [...example.values];
    const maxValue = values.reduce((max, value) => Math.max(max, value), Number.NEGATIVE_INFINITY);
    const identity = [indexHash, place.modelId, layer, record.latent, example.rank];
    return {
      id: `c${hashValue(identity).slice(0, 24)}`,
      tokens: [...example.tokens],
      index: String(record.latent),
      layer,
      modelId: place.modelId,
      maxValue,
      maxValueTokenIndex: values.indexOf(maxValue),
      minValue: values.reduce((min, value) => Math.min(min, value), Number.POSITIVE_INFINITY),
      values,
      creatorId,
      dataSource: null,
      dataIndex: null,
      dfaValues: [],
      dfaTargetIndex: null,
      dfaMaxValue: null,
      createdAt: createdAt.toISOString(),
      lossValues: [],
      logitContributions: null,
      binMin: bin.min,
      binMax: bin.max,
      binContains: bin.contains,
      qualifyingTokenIndex: example.at,
      zIndices: null,
      zValues: null,
    };
  });
}

/** One line an explanation. Ids follow from what it says of which latent, so that the same export has the same. */
export function explanationLinesOf(
  { latent, explanations }: LatentRecord,
  place: NeuronpediaPlace,
  { creatorId, createdAt }: Stamp,
): ExplanationLine[] {
  const layer = sourceIdOf(place);
  return explanations.map(({ text, method, model, detection, fuzzing }) => {
    const scores = [
      detection === null ? [] : [`detection ${detection.toFixed(3)}`],
      fuzzing === null ? [] : [`fuzzing ${fuzzing.toFixed(3)}`],
    ].flat();
    const identity = ["explanation", place.modelId, layer, latent, method, model, text];
    return {
      id: `c${hashValue(identity).slice(0, 24)}`,
      modelId: place.modelId,
      layer,
      index: String(latent),
      description: text,
      authorId: creatorId,
      triggeredByUserId: null,
      notes: `by ${model}, shown ${method}${scores.length === 0 ? "" : `; balanced accuracy: ${scores.join(", ")}`}`,
      typeName: null,
      explanationModelName: null,
      createdAt: createdAt.toISOString(),
    };
  });
}

export function dashboardFeatureOf(
  record: LatentRecord,
  manifest: IndexManifest,
  dataset: string,
): DashboardFeature {
  const { nPrompts, nTokensInPrompt } = promptsOf(manifest);
  return {
    feature_index: record.latent,
    ...sharedArrays(record),
    n_prompts_total: nPrompts,
    n_tokens_in_prompt: nTokensInPrompt,
    dataset,
    activations: record.examples.map((example) => {
      const bin = binOf(example, record);
      return {
        bin_min: bin.min,
        bin_max: bin.max,
        bin_contains: bin.contains,
        tokens: [...example.tokens],
        values: [...example.values],
        qualifying_token_index: example.at,
      };
    }),
    vector: [],
  };
}

/** Null for a latent without examples: an upload must have one. */
export function uploadFeatureOf(record: LatentRecord): UploadFeature | null {
  if (record.examples.length === 0) return null;
  return {
    index: record.latent,
    density: record.density,
    topLogits: record.top.map((logit) => ({ ...logit })),
    bottomLogits: record.bottom.map((logit) => ({ ...logit })),
    activations: record.examples.map((example) => ({
      tokens: [...example.tokens],
      values: [...example.values],
      // The page takes a minimum of −1 for the group of the largest; a share of −1 would be refused.
      quantileMin: example.interval?.min ?? NO_INTERVAL,
      quantileMax: example.interval?.max ?? record.maxAct,
      quantileFraction: example.interval?.share ?? null,
    })),
  };
}
