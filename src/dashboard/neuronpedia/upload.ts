/** Uploads an index to Neuronpedia by its public API, batch after batch, with a record of what was sent. */
import { z } from "zod";
import { DataError, FormatError, StateError } from "../../errors.ts";
import { writeJson } from "../../storage/atomic.ts";
import { hashValue } from "../../storage/hash.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { NeuronpediaClient } from "./client.ts";
import { type NeuronpediaPlace, sourceIdOf } from "./place.ts";
import { type IndexTables, readLatents } from "./records.ts";
import { type UploadBatch, type UploadFeature, uploadBatch } from "./schemas.ts";
import { uploadFeatureOf } from "./spellings.ts";

export interface UploadOptions {
  readonly place: NeuronpediaPlace;
  /** null: nothing is sent, and nothing recorded; batches are made and checked all the same */
  readonly client: NeuronpediaClient | null;
  /** file in which is written what was sent; a later call goes on from it */
  readonly record: string;
  /** at most so many latents are sent in this call; default all */
  readonly most?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface UploadResult {
  /** in this call */
  readonly nSent: number;
  readonly nRequests: number;
  readonly bytes: number;
  /** latents without an example, which cannot be uploaded; in this call */
  readonly nSilent: number;
  /** the next latent; all were looked at where it is dSae */
  readonly next: number;
}

const MOST_FEATURES = 128;
/** Below what the server's host takes in a request, 4.5 MB. */
const MOST_BYTES = 4_000_000;

const count = z.number().int().nonnegative();
const recordSchema = z.strictObject({
  format: z.literal("lapidary-neuronpedia-upload"),
  version: z.literal(1),
  endpoint: z.string(),
  modelId: z.string(),
  source: z.string(),
  /** of the index's manifest */
  indexHash: z.string(),
  /** latents below it are done with */
  next: count,
  nSent: count,
  /** a batch that was being sent: whether it arrived is asked */
  pending: z.strictObject({ first: count, next: count, nSent: count }).nullable(),
});
type UploadRecord = z.infer<typeof recordSchema>;

/** A batch, and the latents it settles. */
interface Batch {
  readonly body: UploadBatch;
  readonly bytes: number;
  /** silent latents before and among its own */
  readonly nSilent: number;
  readonly next: number;
}

/**
 * Sends what was not yet sent, in order. Stopped at any point, the next call goes on: a batch of which it is not known whether
 * it arrived is asked for first, since Neuronpedia would store its examples twice.
 * @throws {StateError} the record is of another upload  @throws {HubError} refused, or no answer
 */
export async function uploadNeuronpedia(index: IndexTables, options: UploadOptions): Promise<UploadResult> {
  const { place, client, most = Number.POSITIVE_INFINITY, signal, onProgress } = options;
  const { dSae } = index.manifest.sae;
  let record = client === null ? null : await openRecord(index, options, client);
  if (record?.pending && client !== null) {
    const { first, next, nSent } = record.pending;
    const arrived = await client.has(record.modelId, record.source, first);
    record = arrived
      ? { ...record, next, nSent: record.nSent + nSent, pending: null }
      : { ...record, pending: null };
    await writeJson(options.record, record);
  }
  const result = { nSent: 0, nRequests: 0, bytes: 0, nSilent: 0, next: record?.next ?? 0 };
  for await (const batch of batches(index, place, result.next, most)) {
    const { body, next } = batch;
    if (client !== null && record !== null) {
      const nSent: number = body.features.length;
      if (nSent > 0) {
        await writeJson(options.record, {
          ...record,
          pending: { first: body.features[0].index, next, nSent },
        });
        await client.upload(body);
      }
      record = { ...record, next, nSent: record.nSent + nSent, pending: null };
      await writeJson(options.record, record);
    } else if (body.features.length > 0) uploadBatch.parse(body);
    result.nSent += body.features.length;
    result.nRequests += body.features.length === 0 ? 0 : 1;
    result.bytes += batch.bytes;
    result.nSilent += batch.nSilent;
    result.next = next;
    onProgress?.(next, dSae);
    signal?.throwIfAborted();
  }
  return result;
}

async function* batches(
  index: IndexTables,
  place: NeuronpediaPlace,
  from: number,
  most: number,
): AsyncGenerator<Batch> {
  const base = { modelId: place.modelId, source: sourceIdOf(place) };
  const empty = JSON.stringify({ ...base, features: [] }).length;
  let [features, bytes, nSilent, next, left]: [UploadFeature[], number, number, number, number] = [
    [],
    empty,
    0,
    from,
    most,
  ];
  const take = (): Batch => {
    const batch = { body: { ...base, features }, bytes: features.length === 0 ? 0 : bytes, nSilent, next };
    [features, bytes, nSilent] = [[], empty, 0];
    return batch;
  };
  for await (const record of readLatents(index, { from })) {
    const feature = uploadFeatureOf(record);
    if (feature !== null) {
      if (left === 0) break;
      const size = Buffer.byteLength(JSON.stringify(feature)) + 1;
      if (empty + size > MOST_BYTES)
        throw new DataError(`latent ${record.latent} takes ${size} bytes, an upload at most ${MOST_BYTES}`, {
          hint: "Index it with fewer or shorter examples.",
        });
      if (features.length === MOST_FEATURES || bytes + size > MOST_BYTES) yield take();
      features.push(feature);
      bytes += size;
      left--;
    } else nSilent++;
    next = record.latent + 1;
  }
  if (features.length > 0 || nSilent > 0) yield take();
}

async function openRecord(
  index: IndexTables,
  { place, record: path }: UploadOptions,
  client: NeuronpediaClient,
): Promise<UploadRecord> {
  const { modelId } = place;
  const identity = {
    endpoint: client.endpoint,
    modelId,
    source: sourceIdOf(place),
    indexHash: hashValue(index.manifest),
  };
  const stored = await readJsonIfPresent(path);
  if (stored === undefined)
    return {
      format: "lapidary-neuronpedia-upload",
      version: 1,
      ...identity,
      next: 0,
      nSent: 0,
      pending: null,
    };
  const parsed = recordSchema.safeParse(stored);
  if (!parsed.success) throw new FormatError(path, "not a record of an upload");
  for (const [key, value] of Object.entries(identity))
    if (parsed.data[key as keyof typeof identity] !== value)
      throw new StateError(
        `${path} is the record of another upload: its ${key} is ${parsed.data[key as keyof typeof identity]}, not ${value}`,
        "name another file with --record; what Neuronpedia has it does not replace",
      );
  return parsed.data;
}
