/**
 * Which files of a dataset repository make up (config, split): what the card's `configs:` says, else the names of the
 * files as the hub's conventions read them, else the hub's own Parquet conversion.
 */
import { readFile } from "node:fs/promises";
import { HubError } from "../errors.ts";
import { cardHeader, MAX_CARD_BYTES } from "./card-header.ts";
import { downloadFile } from "./download.ts";
import { matchesGlob } from "./glob.ts";
import { openRepository, type Repository, type RepositoryFile } from "./repository.ts";

export interface DatasetFiles {
  /** at the asked revision, or at the conversion branch */
  readonly repository: Repository;
  readonly files: readonly RepositoryFile[];
  /** what named the files */
  readonly foundBy: "card" | "names" | "conversion";
}

const DATA_FILE = /\.(parquet|jsonl|ndjson|json|txt)(\.zst)?$/i;
const CONVERSION = "refs/convert/parquet";
/** Spellings that the hub takes for the same split. */
const SPLIT_WORDS: readonly (readonly string[])[] = [
  ["train", "training"],
  ["validation", "valid", "val", "dev"],
  ["test", "testing", "eval", "evaluation"],
];

/** Finds the files of one split. @throws {HubError} there are none; the message lists what there is */
export async function findDatasetFiles(
  repository: Repository,
  options: { config?: string; split?: string; signal?: AbortSignal } = {},
): Promise<DatasetFiles> {
  const split = options.split ?? "train";
  const configs = await configsOfCard(repository, options.signal);
  if (configs.length > 0) {
    const config = chooseConfig(repository, configs, options.config);
    const patterns =
      config.splits.get(split) ?? config.splits.get(sameSplit(split, [...config.splits.keys()]));
    if (patterns === undefined)
      throw new HubError(
        `${repository.name}: config "${config.name}" has no split "${split}", it has ${quoted([...config.splits.keys()])}`,
      );
    const files = repository.files.filter((file) => patterns.some((p) => matchesGlob(file.path, p)));
    const usable = files.filter((file) => DATA_FILE.test(file.path));
    if (usable.length > 0) return { repository, files: usable, foundBy: "card" };
  } else {
    const files = filesByName(repository.files, options.config, split);
    if (files.length > 0) return { repository, files, foundBy: "names" };
  }
  return converted(repository, options.config, split, options.signal);
}

interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  /** split → patterns */
  readonly splits: ReadonlyMap<string, readonly string[]>;
}

async function configsOfCard(repository: Repository, signal: AbortSignal | undefined): Promise<CardConfig[]> {
  const card = repository.files.find((file) => file.path === "README.md");
  if (card === undefined || card.size > MAX_CARD_BYTES) return [];
  const header = cardHeader(await readFile(await downloadFile(repository, card, { signal }), "utf8"));
  const list = Array.isArray(header["configs"]) ? header["configs"] : []; // a broken card says nothing; names may
  return list.filter(isRecord).flatMap((entry): CardConfig[] => {
    const splits = splitPatterns(entry["data_files"], entry["data_dir"]);
    if (splits.size === 0) return [];
    const name = typeof entry["config_name"] === "string" ? entry["config_name"] : "default";
    return [{ name, isDefault: entry["default"] === true || name === "default", splits }];
  });
}

/** `data_files` may be a pattern, a list of patterns, a list of {split, path}, or split → patterns. */
function splitPatterns(dataFiles: unknown, dataDir: unknown): Map<string, string[]> {
  const folder = typeof dataDir === "string" ? `${dataDir.replace(/\/+$/, "")}/` : "";
  const patterns = (value: unknown): string[] =>
    (Array.isArray(value) ? value : [value]).filter((x) => typeof x === "string").map((x) => folder + x);
  const splits = new Map<string, string[]>();
  const add = (split: string, more: string[]) => {
    if (more.length > 0) splits.set(split, [...(splits.get(split) ?? []), ...more]);
  };
  if (typeof dataFiles === "string") add("train", patterns(dataFiles));
  else if (Array.isArray(dataFiles)) {
    for (const entry of dataFiles) {
      if (isRecord(entry)) add(String(entry["split"] ?? "train"), patterns(entry["path"]));
      else add("train", patterns(entry));
    }
  } else if (isRecord(dataFiles))
    for (const [split, value] of Object.entries(dataFiles)) add(split, patterns(value));
  return splits;
}

function chooseConfig(
  repository: Repository,
  configs: readonly CardConfig[],
  wanted: string | undefined,
): CardConfig {
  const found =
    wanted === undefined
      ? (configs.find((c) => c.isDefault) ?? (configs.length === 1 ? configs[0] : undefined))
      : configs.find((c) => c.name === wanted);
  if (found !== undefined) return found;
  const names = quoted(configs.map((c) => c.name));
  throw new HubError(
    wanted === undefined
      ? `${repository.name} has several configs (${names}) and no default`
      : `${repository.name} has no config "${wanted}", it has ${names}`,
    { hint: "name one with `config:`" },
  );
}

/** The hub's reading of file names: a split's word stands alone in a folder's or file's name. */
function filesByName(
  all: readonly RepositoryFile[],
  config: string | undefined,
  split: string,
): RepositoryFile[] {
  let files = all.filter((file) => DATA_FILE.test(file.path));
  if (config !== undefined && config !== "default")
    files = files.filter((file) => file.path.split("/").slice(0, -1).includes(config));
  const words = wordsOf(split);
  const named = files.filter((file) => words.some((word) => hasWord(file.path, word)));
  if (named.length > 0) return named;
  const anyNamed = files.some((file) => SPLIT_WORDS.flat().some((word) => hasWord(file.path, word)));
  if (split !== "train" || anyNamed) return [];
  const rows = files.filter((file) => !/\.(txt|json)$/i.test(file.path)); // beside rows, those are notes and settings
  return rows.length > 0 ? rows : files;
}

async function converted(
  repository: Repository,
  config: string | undefined,
  split: string,
  signal: AbortSignal | undefined,
): Promise<DatasetFiles> {
  const { name, settings } = repository;
  const branch = await openRepository("dataset", name, { revision: CONVERSION, settings, signal }).catch(
    () => null,
  );
  const parquet = branch?.files.filter((file) => file.path.endsWith(".parquet")) ?? [];
  const configs = [...new Set(parquet.map((file) => file.path.split("/")[0]))];
  const chosen = config ?? (configs.includes("default") ? "default" : configs.length === 1 ? configs[0] : "");
  const files = parquet.filter((file) => {
    const [first, second] = file.path.split("/");
    return first === chosen && (second === split || second === `partial-${split}`);
  });
  if (branch === null || files.length === 0) {
    const some = repository.files.slice(0, 12).map((file) => file.path);
    throw new HubError(
      `${name}: found no files for ${config === undefined ? "" : `config "${config}", `}split "${split}"`,
      {
        hint:
          `it holds ${quoted(some)}${repository.files.length > 12 ? " …" : ""}` +
          (configs.length > 0 ? `; converted configs: ${quoted(configs)}` : "") +
          "; read are .parquet, .jsonl, .jsonl.zst and .txt",
      },
    );
  }
  return { repository: branch, files, foundBy: "conversion" };
}

function wordsOf(split: string): readonly string[] {
  return [...new Set([split, ...(SPLIT_WORDS.find((words) => words.includes(split)) ?? [])])];
}

function sameSplit(split: string, existing: readonly string[]): string {
  return existing.find((name) => wordsOf(split).includes(name)) ?? "";
}

function hasWord(path: string, word: string): boolean {
  const lower = path.toLowerCase();
  const wanted = word.toLowerCase();
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, at + 1)) {
    const isEdge = (c: string | undefined) => c === undefined || !/[a-z]/.test(c);
    if (isEdge(lower[at - 1]) && isEdge(lower[at + wanted.length])) return true;
  }
  return false;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
