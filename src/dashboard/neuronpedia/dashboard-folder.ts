/** SAEDashboard's batch files, for its users and for programs that read them: `<folder>/batch-N.json`. */
import { hashValue } from "../../storage/hash.ts";
import { writeBatches } from "./batches.ts";
import type { WrittenFolder } from "./export-folder.ts";
import { type NeuronpediaPlace, sourceIdOf } from "./place.ts";
import { type DecoderRows, type IndexTables, readLatents } from "./records.ts";
import type { DashboardBatch } from "./schemas.ts";
import { dashboardFeatureOf } from "./spellings.ts";

export interface DashboardOptions {
  /** the folder to make, with the batches in it */
  readonly folder: string;
  readonly place: NeuronpediaPlace;
  /** what was indexed, for people */
  readonly dataset: string;
  readonly decoder: DecoderRows | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** As SAEDashboard has it by default. */
const FEATURES_PER_FILE = 128;

/** Writes the batches, all or none. The same index and options give the same bytes. @throws {StateError} the folder exists */
export async function writeDashboardBatches(
  index: IndexTables,
  options: DashboardOptions,
): Promise<WrittenFolder> {
  const { folder, place, dataset, decoder, signal, onProgress } = options;
  const { manifest } = index;
  sourceIdOf(place); // refuses names that cannot stand there
  const lastOf = (batch: number) => `batch-${batch}.json`;
  const written = await writeBatches({
    dir: folder,
    fingerprint: hashValue({ indexHash: hashValue(manifest), place, dataset, isAligned: decoder !== null }),
    nLatents: manifest.sae.dSae,
    latentsPerFile: FEATURES_PER_FILE,
    extras: {},
    lastOf,
    files: (batch, records) => {
      const content: DashboardBatch = {
        model_id: place.modelId,
        layer: place.layer,
        sae_set: place.setName,
        sae_id_suffix: place.suffix,
        features: records.map((record) => dashboardFeatureOf(record, manifest, dataset)),
      };
      return [[lastOf(batch), JSON.stringify(content)]];
    },
    records: (from, to) => readLatents(index, { from, to, decoder }),
    signal,
    onProgress,
  });
  return { dir: folder, ...written };
}
