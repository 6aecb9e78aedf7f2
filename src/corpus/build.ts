/**
 * Builds a corpus set: documents of several sources, mixed by kept tokens, tokenised, packed into windows and written
 * with their manifest. The same options and texts give the same bytes. A build that was interrupted begins again (it
 * takes a minute or two for millions of tokens); one that was finished is recognised and left as it is.
 */
import { join } from "node:path";
import { DataError } from "../errors.ts";
import type { HubSettings } from "../hub/settings.ts";
import { writeJson } from "../storage/atomic.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashValue } from "../storage/hash.ts";
import { readJsonIfPresent } from "../storage/json.ts";
import type { TokenizedDocument } from "./encoded-documents.ts";
import { ConcatPacker, DocumentPacker, type Packer } from "./packing.ts";
import { SourceWindows } from "./source-windows.ts";
import { type CorpusSourceOptions, openCorpusSource } from "./sources/source.ts";
import type { TokenizerFacts } from "./tokenizer-folder.ts";
import { TokenizerPool, type TokenizerPoolOptions } from "./tokenizer-pool.ts";
import { MANIFEST, sweepWindows, WindowWriter } from "./window-writer.ts";
import { documentNumber, type WindowsManifest } from "./windows.ts";

/** What a set of windows is made of; together they decide its content. */
export interface CorpusSetOptions {
  /** the set's folder; made if absent */
  readonly dir: string;
  /** its name: "train", or a held-out set's */
  readonly set: string;
  /** tokens a window */
  readonly contextSize: number;
  /** kept tokens to gather; the last window is taken whole, so there may be a window's more */
  readonly tokens: number;
  /** "saelens": documents one after the other, windows always full; "document": one document a window */
  readonly packing: "saelens" | "document";
  /** BOS begins every window. Without it, "saelens" still separates documents by BOS, as SAELens does. */
  readonly prependBos: boolean;
  readonly sources: readonly CorpusSourceOptions[];
  /** leave special tokens (BOS and control tokens) out of what is kept */
  readonly excludeSpecialTokens: boolean;
  /** further ids not to keep */
  readonly excludeTokenIds?: readonly number[];
  /** model folder with tokenizer.json and, for chats, the chat template */
  readonly tokenizerDir: string;
}

/** How far a set is; told after every window. */
export interface CorpusProgress {
  /** tokens kept so far, of `tokens` */
  readonly kept: number;
  readonly tokens: number;
  readonly nWindows: number;
}

export interface BuildEnvironment {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CorpusProgress) => void;
  readonly settings?: HubSettings;
  readonly tokenizer?: TokenizerPoolOptions;
}

/** Changes when the same options would give other windows. */
const BUILD_VERSION = 1;

/**
 * Builds the set, or finds it built. Each window comes from one source: the one furthest behind its share of the kept
 * tokens so far, so shares are exact to one window at every moment. Where a source whose turn it is has no more
 * documents the set ends there, `exhausted`: the mixture is kept rather than the count, and no document is used twice.
 *
 * @throws {DataError} a document that cannot be read, rendered or tokenised (it is named), or not one kept token
 */
export async function buildCorpusSet(
  options: CorpusSetOptions,
  environment: BuildEnvironment = {},
): Promise<WindowsManifest> {
  checkOptions(options);
  const pool = await TokenizerPool.open(options.tokenizerDir, environment.tokenizer);
  try {
    const inputsHash = hashOfInputs(options, pool.facts);
    const finished = await findFinished(options, inputsHash);
    if (finished !== null) return finished;
    await sweepWindows(options.dir);
    return await build(options, environment, pool, inputsHash);
  } finally {
    await pool.close();
  }
}

async function build(
  options: CorpusSetOptions,
  environment: BuildEnvironment,
  pool: TokenizerPool,
  inputsHash: string,
): Promise<WindowsManifest> {
  const { facts } = pool;
  const excluded = excludedIds(options, facts);
  const sources: SourceWindows[] = [];
  for (const source of options.sources) {
    const opened = await openCorpusSource(source, environment);
    sources.push(new SourceWindows(source, opened, pool, packerFor(options, facts), new Set(excluded)));
  }
  const starts = sources.map(({ fromDocument }) => ({ documents: [fromDocument, fromDocument] as const }));
  const writer = new WindowWriter(options.dir, options.contextSize);
  let nKept = 0;
  let nTokens = 0;
  let nWindows = 0;
  try {
    while (nKept < options.tokens) {
      environment.signal?.throwIfAborted();
      const s = furthestBehind(sources, nKept);
      const taken = await sources[s].next();
      if (taken === null) break;
      const numberOf = (index: number) => documentNumber(starts, s, index);
      await writer.add(taken.window, taken.keep, numberOf);
      nKept += taken.nKept;
      nTokens += taken.window.length;
      nWindows += 1;
      environment.onProgress?.({ kept: nKept, tokens: options.tokens, nWindows });
    }
  } finally {
    for (const source of sources) await source.close();
  }
  const accounts = await Promise.all(sources.map((source) => source.account()));
  if (nKept === 0)
    throw new DataError(
      `set "${options.set}": no token to keep in ${accounts.map((a) => a.name).join(", ")}`,
      {
        hint:
          options.packing === "saelens"
            ? `the documents do not fill one window of ${options.contextSize} tokens; use packing: document or more text`
            : "the documents are empty, or outside fromDocument/toDocument",
      },
    );
  const manifest: WindowsManifest = {
    format: "lapidary-windows",
    version: 1,
    set: options.set,
    contextSize: options.contextSize,
    nWindows,
    nTokens,
    nKept,
    requestedTokens: options.tokens,
    exhausted: nKept < options.tokens,
    packing: options.packing,
    prependBos: options.prependBos,
    bosTokenId: facts.bosTokenId,
    padTokenId: facts.padTokenId,
    excludedTokenIds: excluded,
    tokenizerHash: facts.tokenizerHash,
    chatTemplateHash: facts.chatTemplateHash,
    inputsHash,
    sources: accounts,
    files: await writer.finish(),
  };
  await writeJson(join(options.dir, MANIFEST), manifest);
  return manifest;
}

/** The source with the largest (share of all kept tokens) − (kept tokens of its own); the first of equals. */
function furthestBehind(sources: readonly SourceWindows[], nKept: number): number {
  const total = sources.reduce((sum, source) => sum + source.options.weight, 0);
  const behind = sources.map((source) => (source.options.weight / total) * nKept - source.nKept);
  return behind.indexOf(Math.max(...behind));
}

function packerFor(options: CorpusSetOptions, facts: TokenizerFacts): Packer<TokenizedDocument> {
  const { contextSize, prependBos, packing } = options;
  const bosTokenId = prependBos ? facts.bosTokenId : null;
  if (packing === "document")
    return new DocumentPacker({ contextSize, bosTokenId, padTokenId: facts.padTokenId });
  return new ConcatPacker({
    contextSize,
    beginBatchTokenId: bosTokenId,
    sequenceSeparatorTokenId: facts.bosTokenId,
  });
}

/** Ids whose positions are not kept, ascending. */
function excludedIds(options: CorpusSetOptions, facts: TokenizerFacts): number[] {
  const special = options.excludeSpecialTokens ? facts.specialTokenIds : [];
  return [...new Set([...special, ...(options.excludeTokenIds ?? [])])].sort((a, b) => a - b);
}

function hashOfInputs(options: CorpusSetOptions, facts: TokenizerFacts): string {
  const { dir: _dir, tokenizerDir: _tokenizerDir, sources, ...rest } = options;
  const named = sources.map(({ label, ...source }) => ({ ...source, location: label ?? source.location }));
  return hashValue({ version: BUILD_VERSION, ...rest, sources: named, facts });
}

/** The manifest of a finished build from the same inputs, its files there and its local texts unchanged; else null. */
async function findFinished(options: CorpusSetOptions, inputsHash: string): Promise<WindowsManifest | null> {
  const manifest = await readJsonIfPresent<WindowsManifest>(join(options.dir, MANIFEST));
  if (manifest === undefined || manifest.inputsHash !== inputsHash) return null;
  for (const file of manifest.files) {
    const info = await statIfPresent(join(options.dir, file.name));
    if (info?.size !== file.bytes) return null;
  }
  for (const [i, source] of options.sources.entries()) {
    if (source.location.startsWith("hf:")) continue; // the manifest names the commit
    const opened = await openCorpusSource(source);
    for (const used of manifest.sources[i].files ?? []) {
      const file = opened.files.find(({ name }) => name === used.name);
      if (file === undefined || (await file.identity()) !== used.identity) return null;
    }
  }
  return manifest;
}

function checkOptions(options: CorpusSetOptions): void {
  const refuse = (message: string, hint?: string) => {
    throw new DataError(`set "${options.set}": ${message}`, { hint });
  };
  if (!Number.isInteger(options.tokens) || options.tokens < 1)
    refuse(`tokens is ${options.tokens}, expected a positive whole number`);
  if (options.sources.length === 0) refuse("no sources");
  for (const source of options.sources) {
    const { fromDocument = 0, toDocument = null, weight, name } = source;
    if (!(Number.isFinite(weight) && weight > 0))
      refuse(`source "${name}" has weight ${weight}, expected a positive number`);
    if (!Number.isInteger(fromDocument) || fromDocument < 0)
      refuse(`source "${name}" begins at document ${fromDocument}, expected 0 or more`);
    if (toDocument !== null && !(Number.isInteger(toDocument) && toDocument > fromDocument))
      refuse(`source "${name}" has no documents in [${fromDocument}, ${toDocument})`);
  }
}
