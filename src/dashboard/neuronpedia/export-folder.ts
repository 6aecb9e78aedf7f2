/**
 * Neuronpedia's export folder, the format that its database is filled from and that carries everything:
 *
 *   <folder>/v1/<modelId>/<source>/
 *     release.jsonl  model.jsonl  sourceset.jsonl  source.jsonl
 *     features/batch-N.jsonl.gz  activations/batch-N.jsonl.gz
 *     explanations/batch-N.jsonl.gz, where the index has explanations
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { hashValue } from "../../storage/hash.ts";
import { writeBatches } from "./batches.ts";
import { metadataFiles, type Release } from "./export-metadata.ts";
import { type NeuronpediaPlace, sourceIdOf } from "./place.ts";
import { type DecoderRows, explanationsPrint, type IndexTables, readLatents } from "./records.ts";
import { activationLinesOf, explanationLinesOf, featureLineOf, hookNameOf, type Stamp } from "./spellings.ts";

/** What is written, and where. */
export interface ExportOptions {
  readonly folder: string;
  readonly place: NeuronpediaPlace;
  readonly release: Release;
  readonly stamp: Stamp;
  /** the SAE's decoder; null: no neuron alignment */
  readonly decoder: DecoderRows | null;
  readonly signal?: AbortSignal;
  /** latents written, of how many */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A folder that is whole. */
export interface WrittenFolder {
  readonly dir: string;
  readonly nBatches: number;
  /** batches that an interrupted call had written */
  readonly nResumed: number;
}

/** The importer lists a folder's files in one call, which gives 1000 names and no more. */
const MAX_FILES = 1000;
const LEAST_FEATURES_PER_FILE = 256;
const GZIP_LEVEL = 5;

/**
 * Writes the export of an index, whole or not at all. The same index and options give the same bytes.
 * @throws {StateError} the source's folder exists  @throws {RecipeError} names that cannot stand on Neuronpedia
 */
export async function exportNeuronpedia(index: IndexTables, options: ExportOptions): Promise<WrittenFolder> {
  const { place, stamp, decoder, signal, onProgress } = options;
  const { manifest } = index;
  const dir = join(options.folder, "v1", place.modelId, sourceIdOf(place));
  const indexHash = hashValue(manifest);
  const extras = metadataFiles(manifest, place, options.release, stamp);
  const latentsPerFile = featuresPerFile(manifest.sae.dSae);
  const hookName = hookNameOf(manifest);
  const lastOf = (batch: number) => `features/batch-${batch}.jsonl.gz`;
  const written = await writeBatches({
    dir,
    fingerprint: hashValue({
      indexHash,
      explanations: await explanationsPrint(index),
      extras,
      latentsPerFile,
      isAligned: decoder !== null,
    }),
    nLatents: manifest.sae.dSae,
    latentsPerFile,
    extras,
    lastOf,
    files: (batch, records) => {
      const lines = {
        activations: records.flatMap((record) => activationLinesOf(record, place, stamp, indexHash)),
        explanations: records.flatMap((record) => explanationLinesOf(record, place, stamp)),
        features: records.map((record) => featureLineOf(record, place, stamp, hookName)),
      };
      // The importer fails on a file without lines. Features are the last, and never without.
      return Object.entries(lines)
        .filter(([, some]) => some.length > 0)
        .map(([folder, some]) => [`${folder}/batch-${batch}.jsonl.gz`, gzipLines(some)] as const);
    },
    records: (from, to) => readLatents(index, { from, to, decoder }),
    signal,
    onProgress,
  });
  return { dir, ...written };
}

/** A multiple of 256, so that there are no more files than the importer sees. */
export function featuresPerFile(dSae: number): number {
  return LEAST_FEATURES_PER_FILE * Math.max(1, Math.ceil(dSae / (MAX_FILES * LEAST_FEATURES_PER_FILE)));
}

/** One JSON a line, compressed to the same bytes on every system. */
function gzipLines(lines: readonly object[]): Uint8Array {
  const bytes = gzipSync(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), { level: GZIP_LEVEL });
  bytes[9] = 255; // the header's operating system: unknown
  return bytes;
}
