/**
 * A corpus source: files in a fixed order, each read by its format, seen as one list of documents with indices 0, 1, 2 …
 * Files lie in a folder here or in a dataset repository of the hub; what is not needed of the latter is not fetched.
 */
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { DataError } from "../../errors.ts";
import { arrowFiles, isArrowDataset } from "../../formats/arrow.ts";
import { type ByteFile, openLocalFile } from "../../hub/byte-file.ts";
import { findDatasetFiles } from "../../hub/dataset-files.ts";
import { openRemoteFile } from "../../hub/remote-file.ts";
import { openRepository } from "../../hub/repository.ts";
import type { HubSettings } from "../../hub/settings.ts";
import { parseSource } from "../../hub/source.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { Columns, SourceDocument } from "../document.ts";
import { arrowReader } from "./arrow.ts";
import { jsonlReader, jsonlZstdReader } from "./jsonl.ts";
import { parquetReader } from "./parquet.ts";
import type { DocumentReader } from "./reader.ts";
import { textReader } from "./text.ts";

/** A source as a recipe names it. */
export interface CorpusSourceOptions {
  readonly name: string;
  /** folder or file (.txt, .jsonl, .jsonl.zst, .parquet, .arrow), a folder of `datasets`' save_to_disk, or hf:owner/name[@revision] */
  readonly location: string;
  /** what the manifest says in place of `location`: a path as the recipe spells it, not as this machine does */
  readonly label?: string;
  readonly kind: "text" | "chat";
  /** share of the set's kept tokens, relative to the other sources */
  readonly weight: number;
  /** default "text" */
  readonly textColumn?: string;
  /** default "messages" */
  readonly messagesColumn?: string;
  /** hub only: the data set's configuration; default its default */
  readonly config?: string | null;
  /** hub only: default "train" */
  readonly split?: string | null;
  /** documents [fromDocument, toDocument) are used; default all */
  readonly fromDocument?: number;
  readonly toDocument?: number | null;
}

/** A file of a source with the number of its first document, once that is known. */
export interface OpenedFile {
  readonly name: string;
  readonly size: number;
  identity(): Promise<string>;
}

export interface CorpusSource {
  /** "text", "jsonl", "jsonl.zst", "parquet" or "arrow" */
  readonly format: string;
  /** the commit, for sources on the hub */
  readonly commit: string | null;
  readonly files: readonly OpenedFile[];
  /** Documents [from, to), by index within the source. */
  documents(from: number, to: number): AsyncIterable<SourceDocument>;
}

const READERS: readonly (readonly [RegExp, DocumentReader])[] = [
  [/\.txt$/i, textReader],
  [/\.(jsonl|ndjson|json)$/i, jsonlReader],
  [/\.(jsonl|ndjson|json)\.zst$/i, jsonlZstdReader],
  [/\.parquet$/i, parquetReader],
  [/\.arrow$/i, arrowReader],
];
const MAX_FILES = 1_000_000;

/**
 * Finds a source's files; reads none of them yet.
 * @throws {DataError} nothing is there, or files of several formats
 * @throws {HubError} the hub has no such data set, config or split
 */
export async function openCorpusSource(
  options: CorpusSourceOptions,
  environment: { settings?: HubSettings; signal?: AbortSignal } = {},
): Promise<CorpusSource> {
  const { files, commit } = await locate(options, environment);
  if (files.length === 0)
    throw new DataError(`${options.location}: no .txt, .jsonl, .jsonl.zst, .parquet or .arrow files`);
  const readers = new Set(files.map((file) => readerOf(file.name)));
  const [reader] = readers;
  if (readers.size !== 1 || reader === undefined)
    throw new DataError(
      `${options.location}: files of several formats (${[...readers].map((r) => r?.format ?? "unknown").join(", ")})`,
      { hint: "name one file, or a folder with files of one format" },
    );
  const columns = {
    kind: options.kind,
    textColumn: options.textColumn ?? "text",
    messagesColumn: options.messagesColumn ?? "messages",
  };
  return {
    format: reader.format,
    commit,
    files,
    async *documents(from, to) {
      let first = 0; // index in the source of the current file's first document
      for (let i = 0; i < files.length && first < to; i++) {
        const skip = Math.max(0, from - first);
        const count = skip > 0 ? await reader.count(files[i]) : null;
        if (count !== null && count <= skip) first += count;
        else first += yield* within(reader, files[i], i, first, skip, to, columns);
      }
    },
  };
}

/** Documents of one file from its number `skip` on, up to the source's `to`. Returns how many the file holds. */
async function* within(
  reader: DocumentReader,
  file: ByteFile,
  i: number,
  first: number,
  skip: number,
  to: number,
  columns: Columns,
): AsyncGenerator<SourceDocument, number> {
  const documents = reader.documents(file, skip, columns);
  try {
    for (;;) {
      const { done, value } = await documents.next();
      if (done) return value;
      const index = first + value.index;
      if (index >= to) return index - first;
      yield { ...value, index, file: i, indexInFile: value.index };
    }
  } finally {
    await documents.return(0);
  }
}

async function locate(
  options: CorpusSourceOptions,
  { settings, signal }: { settings?: HubSettings; signal?: AbortSignal },
): Promise<{ files: ByteFile[]; commit: string | null }> {
  const source = parseSource(options.location);
  if (source.kind === "path") {
    for (const key of ["config", "split"] as const)
      if (options[key])
        throw new DataError(`${options.location}: a folder has no ${key}; ${key} is for hf: sources`);
    return { files: await localFiles(source.path), commit: null };
  }
  const { name, revision, subPath } = source;
  if (subPath !== "")
    throw new DataError(`${options.location}: expected hf:owner/name[@revision] for a data set`);
  const repository = await openRepository("dataset", name, { revision, settings, signal });
  const found = await findDatasetFiles(repository, {
    config: options.config ?? undefined,
    split: options.split ?? undefined,
    signal,
  });
  const files = await Promise.all(
    found.files.map((file) => openRemoteFile(found.repository, file, { signal })),
  );
  return { files, commit: found.repository.commit };
}

/** One file, or the readable files of a folder and its folders, by path. */
async function localFiles(path: string): Promise<ByteFile[]> {
  const info = await stat(path).catch(() => null);
  if (info === null)
    throw new DataError(`${path}: no such file or folder`, {
      hint: "give a path, or a data set of the hub as hf:owner/name",
    });
  if (info.isFile()) {
    const name = basename(path);
    if (readerOf(name) === undefined)
      throw new DataError(
        `${path}: unknown kind of file, expected .txt, .jsonl, .jsonl.zst, .parquet or .arrow`,
      );
    return [await openLocalFile(path, name)];
  }
  const saved = await savedDataset(path);
  if (saved !== null) return Promise.all(saved.map((name) => openLocalFile(join(path, name), name)));
  const names: string[] = [];
  const visit = async (folder: string, prefix: string) => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory()) await visit(join(folder, entry.name), `${prefix}${entry.name}/`);
      else if (readerOf(entry.name) !== undefined) names.push(prefix + entry.name);
      if (names.length > MAX_FILES) throw new DataError(`${path}: more than ${MAX_FILES} files`);
    }
  };
  await visit(path, "");
  names.sort();
  return Promise.all(names.map((name) => openLocalFile(join(path, ...name.split("/")), name)));
}

/** Data files of a folder that `datasets` saved, in its own order; null for any other folder. */
async function savedDataset(folder: string): Promise<string[] | null> {
  if (await isArrowDataset(folder)) return arrowFiles(folder);
  const splits = await readJsonIfPresent<{ splits?: unknown }>(join(folder, "dataset_dict.json"));
  if (splits === undefined) return null;
  const names = Array.isArray(splits?.splits)
    ? splits.splits.slice(0, 20).map(String).join(", ")
    : "no list of them";
  throw new DataError(`${folder} holds several splits of a data set (${names})`, {
    hint: "name the folder of one of them",
  });
}

function readerOf(name: string): DocumentReader | undefined {
  return READERS.find(([pattern]) => pattern.test(name))?.[1];
}
