/** The four small files of an export: release, model, source set, source. Neuronpedia leaves rows that it has as they are. */
import type { IndexManifest } from "../manifest.ts";
import { type NeuronpediaPlace, sourceIdOf } from "./place.ts";
import type { ModelLine, ReleaseLine, SourceLine, SourceSetLine } from "./schemas.ts";
import { promptsOf, type Stamp } from "./spellings.ts";

/** What people are told about the SAEs. */
export interface Release {
  /** unique on Neuronpedia */
  readonly name: string;
  readonly description: string;
  readonly creatorName: string;
  /** null: none */
  readonly url: string | null;
  /** where the weights are: `owner/name`, and a folder in it; null: not published */
  readonly hfRepoId: string | null;
  readonly hfFolderId: string | null;
  /** what was indexed, for people */
  readonly dataset: string;
}

/** Their contents by name. */
export function metadataFiles(
  manifest: IndexManifest,
  place: NeuronpediaPlace,
  release: Release,
  stamp: Stamp,
): Record<string, string> {
  const { creatorId } = stamp;
  const createdAt = stamp.createdAt.toISOString();
  const { creatorName, description, dataset, hfRepoId, hfFolderId } = release;
  const urls = release.url === null ? [] : [release.url];
  const { nPrompts, nTokensInPrompt } = promptsOf(manifest);
  const releaseLine: ReleaseLine = {
    name: release.name,
    description,
    descriptionShort: description,
    creatorName,
    creatorNameShort: creatorName,
    creatorId,
    creatorEmail: null,
    urls,
    visibility: "PUBLIC",
    isNewUi: false,
    featured: false,
    defaultSourceSetName: null,
    defaultSourceId: null,
    defaultUmapSourceIds: [],
    createdAt,
  };
  const modelLine: ModelLine = {
    id: place.modelId,
    instruct: place.modelId.endsWith("-it"),
    displayNameShort: place.modelId,
    displayName: place.modelId,
    creatorId,
    tlensId: null,
    dimension: manifest.sae.dIn,
    visibility: "PUBLIC",
    inferenceEnabled: false,
    layers: 0, // not known here; a model that Neuronpedia has stays as it is
    neuronsPerLayer: 0,
    createdAt,
    owner: "",
    updatedAt: createdAt,
    website: null,
  };
  const sourceSetLine: SourceSetLine = {
    modelId: place.modelId,
    name: place.setName,
    creatorId,
    creatorName,
    creatorEmail: null,
    hasDashboards: true,
    visibility: "PUBLIC",
    description,
    type: "",
    urls,
    releaseName: release.name,
    defaultRange: 1,
    defaultShowBreaks: true,
    showDfa: false,
    showCorrelated: true,
    showHeadAttribution: false,
    showUmap: false,
    createdAt,
  };
  const sourceLine: SourceLine = {
    id: sourceIdOf(place),
    modelId: place.modelId,
    setName: place.setName,
    creatorId,
    hasDashboards: true,
    inferenceEnabled: false,
    saelensRelease: null,
    saelensSaeId: null,
    hfRepoId,
    hfFolderId,
    visibility: "PUBLIC",
    hasUmap: false,
    hasUmapLogSparsity: false,
    hasUmapClusters: false,
    num_prompts: nPrompts,
    num_tokens_in_prompt: nTokensInPrompt,
    dataset,
    notes: `made by Lapidary from SAE ${manifest.sae.hash}, data ${manifest.data.hash}`,
    createdAt,
  };
  return {
    "release.jsonl": line(releaseLine),
    "model.jsonl": line(modelLine),
    "sourceset.jsonl": line(sourceSetLine),
    "source.jsonl": line(sourceLine),
  };
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
