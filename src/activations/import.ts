/**
 * Makes a store of activations that another program computed: a SAELens activation cache, or safetensors files (so that
 * a machine with Python and a GPU can harvest for us). The store looks like one of our own harvest, says in its manifest
 * where it came from, and an interrupted import goes on where it stopped.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { DataError, RecipeError } from "../errors.ts";
import { isArrowDataset } from "../formats/arrow.ts";
import { canonicalHookName, parseHookName, residualLayer } from "../sae/hook-name.ts";
import type { ActivationRows, StoreIdentity, StoreManifest } from "./activations.ts";
import { openSaelensCache } from "./import-saelens.ts";
import { isFile, openSafetensorsDump } from "./import-safetensors.ts";
import { describeFiles, type ImportSource } from "./import-source.ts";
import { rowsPerShard } from "./plan.ts";
import { selectRows } from "./rows.ts";
import { openWriter } from "./writer.ts";

/** What is imported, and as what. */
export interface ImportOptions {
  /** a CacheActivationsRunner folder, a safetensors file, or a folder of safetensors files */
  readonly source: string;
  /** folder of the store to make */
  readonly out: string;
  /** hook point, where the source does not say (or to choose one of several); any spelling `parseHookName` reads */
  readonly hookName?: string;
  /** name of the set; default "train" */
  readonly set?: string;
  /** default: what keeps every bit of the source, at most f32 */
  readonly dtype?: "bf16" | "f32";
  /** rows of these tokens (BOS, control tokens, padding) are left out; needs token ids in the source */
  readonly excludedTokenIds?: readonly number[];
  /** which model the activations come from, for the manifest; default: what the source says */
  readonly modelName?: string;
  /** source rows a shard; default: about 128 MiB of them */
  readonly rowsPerShard?: number;
}

/** How far an import is. */
export interface ImportProgress {
  /** "check": files hashed, for the manifest; "import": rows read */
  readonly phase: "check" | "import";
  readonly done: number;
  readonly total: number;
}

/** To watch an import, and to stop it. */
export interface ImportHooks {
  readonly onProgress?: (progress: ImportProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Imports `source` into the store `out` and returns the finished store's manifest. Run again after an interruption it
 * goes on; run again when finished it changes nothing.
 * @throws {DataError} the source is not what it should be, or holds too many non-finite rows
 * @throws {RecipeError} the hook point is not known
 * @throws {StateError} `out` holds something else
 */
export async function importActivations(
  options: ImportOptions,
  { onProgress, signal }: ImportHooks = {},
): Promise<StoreManifest> {
  const source = await openSource(options);
  try {
    const { nUnits, rowsPerUnit, files } = source;
    if (nUnits === 0) throw new DataError(`${options.source} holds no activations`);
    const excluded = new Set(options.excludedTokenIds ?? []);
    if (excluded.size > 0 && source.absent.includes("tokenIds")) {
      throw new DataError(`${options.source} has no token ids, so tokens cannot be excluded by id`, {
        hint: "add a tensor token_ids [n], or leave the excluded tokens out when dumping",
      });
    }
    const described = await describeFiles(files, (done) => {
      signal?.throwIfAborted();
      onProgress?.({ phase: "check", done, total: files.length });
    });
    const dtype = options.dtype ?? source.dtype;
    const wanted = options.rowsPerShard ?? rowsPerShard(source.dIn, dtype);
    const unitsPerShard = Math.max(1, Math.floor(wanted / rowsPerUnit));
    const identity = storeIdentity(source, options, {
      dtype,
      files: described,
      rowsPerShard: unitsPerShard * rowsPerUnit,
    });
    const writer = await openWriter(options.out, identity);
    for (let shard = writer.nextShard; !writer.complete && shard * unitsPerShard < nUnits; shard++) {
      signal?.throwIfAborted();
      const last = Math.min(nUnits, (shard + 1) * unitsPerShard);
      const rows = await source.read(shard * unitsPerShard, last);
      await writer.writeShard(shard, withoutTokens(rows, source.dIn, excluded));
      onProgress?.({ phase: "import", done: last * rowsPerUnit, total: nUnits * rowsPerUnit });
    }
    return await writer.finish();
  } finally {
    await source.close();
  }
}

async function openSource({ source, hookName }: ImportOptions): Promise<ImportSource> {
  if (await isFile(source)) return openSafetensorsDump([source]);
  if (await isArrowDataset(source)) return openSaelensCache(source, hookName);
  const entries = await readdir(source, { withFileTypes: true });
  for (const { name } of entries.filter((entry) => entry.isDirectory())) {
    if (!(await isArrowDataset(join(source, name)))) continue;
    throw new DataError(`${source} is no SAELens activation cache, but its folder "${name}" is`, {
      hint: `import ${join(source, name)}`,
    });
  }
  const names = entries
    .map(({ name }) => name)
    .filter((name) => name.endsWith(".safetensors"))
    .sort();
  if (names.length === 0) {
    throw new DataError(`${source} holds neither a SAELens activation cache nor safetensors files`, {
      hint: "docs/formats/import.md says what can be imported",
    });
  }
  return openSafetensorsDump(names.map((name) => join(source, name)));
}

function storeIdentity(
  source: ImportSource,
  options: ImportOptions,
  decided: {
    dtype: "bf16" | "f32";
    files: readonly { name: string; sha256: string }[];
    rowsPerShard: number;
  },
): StoreIdentity {
  const hookName = options.hookName ?? source.hookName;
  if (hookName === null) {
    throw new RecipeError(
      `${options.source} does not say which hook point its activations come from`,
      "name it, for instance blocks.4.hook_resid_post (the output of decoder layer 4)",
    );
  }
  const layer = residualLayer(parseHookName(hookName));
  return {
    dtype: decided.dtype,
    dIn: source.dIn,
    hookName: layer === null ? hookName : canonicalHookName(layer),
    set: options.set ?? "train",
    provenance: {
      importedFrom: {
        kind: source.kind,
        files: decided.files,
        nRows: source.nUnits * source.rowsPerUnit,
        rowsPerShard: decided.rowsPerShard,
      },
      model: options.modelName ?? source.modelName,
      excludedTokenIds: [...new Set(options.excludedTokenIds ?? [])].sort((a, b) => a - b),
      absentLabels: source.absent,
    },
  };
}

function withoutTokens(rows: ActivationRows, dIn: number, excluded: ReadonlySet<number>): ActivationRows {
  if (excluded.size === 0) return rows;
  const kept = [...rows.tokenIds.keys()].filter((row) => !excluded.has(rows.tokenIds[row]));
  return kept.length === rows.nRows ? rows : selectRows(rows, dIn, kept);
}
