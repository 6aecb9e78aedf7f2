/** `lapidary neuronpedia`: a latent index as Neuronpedia and SAEDashboard have it, in files or uploaded. */
import { stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { NeuronpediaPlace } from "../../dashboard/neuronpedia/place.ts";
import type { DecoderRows, IndexTables } from "../../dashboard/neuronpedia/records.ts";
import type { UploadResult } from "../../dashboard/neuronpedia/upload.ts";
import { DataError, RecipeError } from "../../errors.ts";
import { findIndex, isIndexFolder } from "../../pipeline/indexing/find-index.ts";
import type { Sae } from "../../sae/sae.ts";
import {
  addCommonOptions,
  addIndexChoice,
  type CommonOptions,
  type IndexChoice,
  interruptSignal,
  positiveInteger,
} from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { count, formatBytes } from "../progress.ts";

interface NeuronpediaOptions extends CommonOptions, IndexChoice {
  readonly modelId: string;
  readonly set: string;
  readonly suffix?: string;
  readonly export?: string;
  readonly batches?: string;
  readonly upload?: boolean;
  readonly dryRun?: boolean;
  readonly sae?: string;
  readonly creator?: string;
  readonly creatorId: string;
  readonly release?: string;
  readonly description?: string;
  readonly url?: string;
  readonly weights?: string;
  readonly dataset?: string;
  readonly createdAt?: Date;
  readonly record?: string;
  readonly most?: number;
  readonly endpoint?: string;
}

/** The user that Neuronpedia's own bulk imports belong to. */
const BULK_IMPORTS = "clkht01d40000jv08hvalcvly";

export function addNeuronpediaCommand(program: Command): void {
  addIndexChoice(addCommonOptions(program.command("neuronpedia")))
    .description("write a latent index in Neuronpedia's formats, or upload it there")
    .requiredOption("--model-id <id>", "Neuronpedia's name of the model, lower case")
    .requiredOption("--set <name>", "name of the source set, lower case")
    .option("--suffix <name>", "tells SAEs of one layer and set apart: <layer>-<set>__<suffix>")
    .option("--export <folder>", "write the export folder, <folder>/v1/<model>/<source>")
    .option("--batches <folder>", "write SAEDashboard's batch-N.json")
    .option("--upload", "upload by the API: without histograms")
    .option("--dry-run", "with --upload: make and check every request, send none")
    .option("--sae <folder>", "the indexed SAE, for the neuron alignment of its decoder (export, batches)")
    .option("--creator <name>", "export: who made the SAEs")
    .option("--creator-id <id>", "export: Neuronpedia's user that rows belong to", BULK_IMPORTS)
    .option("--release <name>", "export: name of the release (default: the set's)")
    .option("--description <text>", "export: of release and set")
    .option("--url <address>", "export: a paper or post about them")
    .option("--weights <owner/name/folder>", "export: where they are on the hub")
    .option("--dataset <name>", "what was indexed, for people (default: names of the indexed sets)")
    .option("--created-at <time>", "export: ISO time on every row (default: the index's)", time)
    .option(
      "--record <file>",
      "upload: what was sent, to go on from (default: <index>.neuronpedia-<source>.json)",
    )
    .option("--most <n>", "upload: send at most so many latents in this call", positiveInteger)
    .option("--endpoint <url>", "upload: another Neuronpedia than https://www.neuronpedia.org")
    .addHelpText("after", HELP)
    .action(neuronpedia);
}

const HELP = `
The export is what Neuronpedia's database is filled from, and carries everything; an upload needs no one but you, and has
no histograms. It needs NEURONPEDIA_API_KEY, and a source that exists there. Stopped, each goes on when run again.
The layer in the source's name is that of the SAE's hook name; of an index whose SAE has none, --layer says it.
docs/formats/neuronpedia.md says what stands in each field.

Examples:
  $ lapidary neuronpedia runs/tiny-gemma --layer 4 --model-id tiny-gemma-it --set me-res-16k \\
      --export exports --creator "Me" --sae runs/tiny-gemma/sae/btk-mat-layer-4-k-32
  $ lapidary neuronpedia <index> --model-id gemma-3-4b-it --set me-res-16k --upload --dry-run`;

async function neuronpedia(path: string, options: NeuronpediaOptions): Promise<void> {
  if (options.export === undefined && options.batches === undefined && options.upload !== true)
    throw new RecipeError("nothing to write", "name at least one of --export, --batches and --upload");
  refuseUnused(options);
  const output = createOutput(options);
  const { before, layer } = options;
  const dir = await findIndex(path, (await isIndexFolder(path)) ? { before } : { before, layer });
  const { openIndex } = await import("../../dashboard/open-index.ts");
  const { sourceIdOf } = await import("../../dashboard/neuronpedia/place.ts");
  const index = await openIndex(dir);
  try {
    const { manifest } = index;
    const place = {
      modelId: options.modelId,
      layer: options.layer ?? (await layerOf(manifest.sae.hookName)),
      setName: options.set,
      suffix: options.suffix ?? null,
    };
    const job: Job = {
      dir,
      index,
      options,
      output,
      place,
      source: sourceIdOf(place),
      dataset: options.dataset ?? manifest.data.sets.join(", "),
      decoder: options.sae === undefined ? null : await decoderOf(options.sae, manifest.sae.hash),
      signal: interruptSignal(),
    };
    if (options.export !== undefined) await writeExport(job, options.export);
    if (options.batches !== undefined) await writeBatchFiles(job, options.batches);
    if (options.upload) await upload(job);
  } finally {
    output.clear();
    index.close();
  }
}

/** What all three formats are told from. */
interface Job {
  /** the index's folder */
  readonly dir: string;
  readonly index: IndexTables;
  readonly options: NeuronpediaOptions;
  readonly output: Output;
  readonly place: NeuronpediaPlace;
  readonly source: string;
  readonly dataset: string;
  readonly decoder: DecoderRows | null;
  readonly signal: AbortSignal;
}

async function writeExport(job: Job, folder: string): Promise<void> {
  const { dir, index, options, output, place, source, dataset, decoder, signal } = job;
  const { exportNeuronpedia } = await import("../../dashboard/neuronpedia/export-folder.ts");
  const [hfRepoId, hfFolderId] = weightsOf(options.weights);
  if (options.creator === undefined)
    throw new RecipeError("an export says who made the SAEs", "add --creator");
  const written = await exportNeuronpedia(index, {
    folder: resolve(folder),
    place,
    release: {
      name: options.release ?? options.set,
      description: options.description ?? options.set,
      creatorName: options.creator,
      url: options.url ?? null,
      hfRepoId,
      hfFolderId,
      dataset,
    },
    stamp: {
      creatorId: options.creatorId,
      createdAt: options.createdAt ?? (await stat(join(dir, "index.json"))).mtime,
    },
    decoder,
    signal,
    onProgress: progress(output, `export ${source}`),
  });
  const where = relative(".", written.dir);
  output.result(
    `${where}: export of ${count(index.manifest.sae.dSae)} latents, ${written.nBatches} batches`,
    {
      kind: "export",
      ...written,
    },
  );
}

async function writeBatchFiles(job: Job, folder: string): Promise<void> {
  const { index, output, place, source, dataset, decoder, signal } = job;
  const { writeDashboardBatches } = await import("../../dashboard/neuronpedia/dashboard-folder.ts");
  const onProgress = progress(output, `batches ${source}`);
  const options = { folder: resolve(folder), place, dataset, decoder, signal, onProgress };
  const written = await writeDashboardBatches(index, options);
  output.result(`${relative(".", written.dir)}: ${written.nBatches} batch files of SAEDashboard`, {
    kind: "batches",
    ...written,
  });
}

async function upload({ dir, index, options, output, place, source, signal }: Job): Promise<void> {
  const { KEY_VARIABLE, NEURONPEDIA, NeuronpediaClient } = await import(
    "../../dashboard/neuronpedia/client.ts"
  );
  const { uploadNeuronpedia } = await import("../../dashboard/neuronpedia/upload.ts");
  const { endpoint = NEURONPEDIA, most, dryRun } = options;
  const record = resolve(options.record ?? `${dir}.neuronpedia-${source}.json`);
  const client = dryRun
    ? null
    : new NeuronpediaClient({ endpoint, key: () => process.env[KEY_VARIABLE], signal });
  const onProgress = progress(output, `upload ${source}`);
  const sent = await uploadNeuronpedia(index, { place, client, record, most, signal, onProgress });
  const address = client === null ? null : `${client.endpoint}/${place.modelId}/${source}/0`;
  output.result(uploadText(sent, address, index.manifest.sae.dSae), {
    kind: "upload",
    address,
    record: client === null ? null : record,
    ...sent,
  });
}

/** Options that belong to what was not asked for. */
function refuseUnused(options: NeuronpediaOptions): void {
  const needs: [keyof NeuronpediaOptions, string, boolean][] = [
    ["dryRun", "--upload", options.upload === true],
    ["record", "--upload without --dry-run", options.upload === true && options.dryRun !== true],
    ["most", "--upload", options.upload === true],
    ["endpoint", "--upload without --dry-run", options.upload === true && options.dryRun !== true],
    ["creator", "--export", options.export !== undefined],
    ["release", "--export", options.export !== undefined],
    ["description", "--export", options.export !== undefined],
    ["url", "--export", options.export !== undefined],
    ["weights", "--export", options.export !== undefined],
    ["createdAt", "--export", options.export !== undefined],
    ["sae", "--export or --batches", options.export !== undefined || options.batches !== undefined],
    ["dataset", "--export or --batches", options.export !== undefined || options.batches !== undefined],
  ];
  for (const [key, what, isThere] of needs)
    if (options[key] !== undefined && !isThere)
      throw new RecipeError(
        `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} belongs to ${what}`,
        `ask for ${what}, or leave it out`,
      );
}

async function layerOf(hookName: string | null): Promise<number> {
  const { parseHookName } = await import("../../sae/hook-name.ts");
  if (hookName === null)
    throw new RecipeError("the index's SAE has no hook name", "name its layer: --layer 12");
  return parseHookName(hookName).layer;
}

async function decoderOf(location: string, hash: string): Promise<DecoderRows> {
  const { loadSae } = await import("../../sae/load.ts");
  const { saeIdentity } = await import("../../evals/result.ts");
  const sae: Sae = await loadSae(location.startsWith("hf:") ? location : resolve(location));
  if (saeIdentity(sae).hash !== hash)
    throw new DataError(
      `${location} is not the SAE that was indexed (${saeIdentity(sae).hash.slice(0, 12)}, the index has ${hash.slice(0, 12)})`,
      {
        hint: "name the one it was made from, or leave out --sae",
      },
    );
  return { dIn: sae.config.dIn, wDec: sae.weights.wDec };
}

function weightsOf(text: string | undefined): [string | null, string | null] {
  if (text === undefined) return [null, null];
  const [owner, name, ...folder] = text.replace(/^hf:/, "").split("/");
  if (!owner || !name)
    throw new RecipeError(`--weights ${text}`, "owner/name, or owner/name/folder is wanted");
  return [`${owner}/${name}`, folder.length === 0 ? null : folder.join("/")];
}

function time(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new InvalidArgumentError("an ISO time is wanted, such as 2026-01-31T12:00:00Z");
  return date;
}

function progress(output: Output, unit: string): (done: number, total: number) => void {
  return (done, total) =>
    output.event({ kind: "progress", unit, progress: { done, total, unit: "latents" } });
}

function uploadText(
  { nSent, nRequests, bytes, nSilent, next }: UploadResult,
  address: string | null,
  dSae: number,
): string {
  const what = `${count(nSent)} latents in ${count(nRequests)} requests, ${formatBytes(bytes)}`;
  const silent = `${count(nSilent)} without an example, which cannot be uploaded`;
  if (address === null) return `Would send ${what} (${silent}). Nothing was sent.`;
  const rest = next < dSae ? `; ${count(dSae - next)} to go: run it again` : "";
  return `Sent ${what} (${silent})${rest}.\n${address}`;
}
