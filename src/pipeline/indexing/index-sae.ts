/** The index of any SAE: on a store of activations, or on texts that a model reads in memory. */
import { openActivationStore } from "../../activations/store.ts";
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import { Vocabulary } from "../../corpus/vocabulary.ts";
import { readIndexManifest } from "../../dashboard/index-manifest.ts";
import type { IndexedSet } from "../../dashboard/tokens/indexed-set.ts";
import { DataError } from "../../errors.ts";
import { saeIdentity } from "../../evals/result.ts";
import { windowsInMemory } from "../../evals/splice/windows.ts";
import { rowsSource, storeSource } from "../../evals/token-source.ts";
import type { EngineFactory } from "../../kernels/kernels.ts";
import type { OpenModelOptions } from "../../models/residual-model.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { loadSae } from "../../sae/load.ts";
import type { Sae } from "../../sae/sae.ts";
import { publicName } from "../recipe/file.ts";
import { layerOf, TappedLayer } from "../transfer/tapped-layer.ts";
import type { TransferText } from "../transfer/texts.ts";
import { transferWindows } from "../transfer/windows.ts";
import { densitiesOf, describeSae, tokenText } from "./describe.ts";
import {
  DEFAULT_TEXT_TOKENS,
  DEFAULT_TOKENS,
  dataHashOf,
  type IndexingOptions,
  type MadeIndex,
  makeIndex,
  type WantedIndex,
} from "./make-index.ts";

export interface IndexSaeOptions extends IndexingOptions {
  /** folder or file of the SAE, or its place on the hub */
  readonly sae: string;
  /** where the index goes */
  readonly out: string;
  /** folders of stores; or else texts, with a model that reads them */
  readonly stores?: readonly string[];
  readonly texts?: readonly TransferText[];
  /** folder of the model: runs the texts, and knows what tokens are written as */
  readonly model?: string;
  /** tokens of all sets together; default DEFAULT_TOKENS, of texts DEFAULT_TEXT_TOKENS */
  readonly tokens?: number;
  /** whose output the SAE reads; default: what it says */
  readonly layer?: number;
  /** tokens a window of a text; default: the SAE's context size, else 256 */
  readonly contextSize?: number;
  /** folder of an index of the SAE that this one comes from, on the same tokens: gives base_density */
  readonly baseIndex?: string;
  /** that SAE: gives drift */
  readonly baseSae?: string;
  readonly createEngine: EngineFactory;
  readonly device?: OpenModelOptions["device"];
  readonly dtype?: string;
}

/**
 * @throws {DataError} there is nothing to index on, or the base index is of other tokens
 * @throws {StateError} another index lies there, and `overwrite` is not set
 */
export async function indexSae(options: IndexSaeOptions): Promise<MadeIndex> {
  const sae = await loadSae(options.sae);
  const data = await openData(sae, options);
  try {
    return await makeIndex(
      {
        dir: options.out,
        title: `index: ${publicName(options.sae)}`,
        ...describeSae(sae, publicName(options.sae)),
        modelName: options.model === undefined ? null : publicName(options.model),
        sets: data.sets,
        dataHash: data.hash,
        textOf: tokenText(await vocabularyOf(options.model)),
        base: await baseOf(options, data.hash),
        training: null,
        lens: null,
        openLabeller: null,
        createEngine: options.createEngine,
      },
      options,
    );
  } finally {
    await data.close();
  }
}

interface OpenedData {
  readonly sets: readonly IndexedSet[];
  readonly hash: string;
  close(): Promise<void>;
}

async function openData(sae: Sae, options: IndexSaeOptions): Promise<OpenedData> {
  const { stores = [], texts = [] } = options;
  if ((stores.length === 0) === (texts.length === 0))
    throw new DataError("an SAE is indexed on stores or on texts, one or the other", {
      hint: "--data STORE, or --text FILE --model FOLDER",
    });
  return texts.length > 0
    ? readTexts(sae, texts, options)
    : openStores(stores, options.tokens ?? DEFAULT_TOKENS);
}

async function openStores(folders: readonly string[], tokens: number): Promise<OpenedData> {
  const limit = Math.max(1, Math.floor(tokens / folders.length));
  const stores = await Promise.all(folders.map((folder) => openActivationStore(folder)));
  const sets = stores.map((store) => ({
    tokens: storeSource(store, { limit }),
    windows: null,
    sourceOf: null,
  }));
  return {
    sets,
    hash: dataHashOf(sets.map(({ tokens }) => ({ hash: tokens.store!.hash, nRows: tokens.total }))),
    async close() {
      for (const store of stores) await store.close();
    },
  };
}

/** Runs the texts through the model, their activations in memory. */
async function readTexts(
  sae: Sae,
  texts: readonly TransferText[],
  options: IndexSaeOptions,
): Promise<OpenedData> {
  if (options.model === undefined)
    throw new DataError("which model shall read the texts?", { hint: "--model FOLDER" });
  const layer = options.layer ?? layerOf(sae);
  const tokens = Math.max(1, Math.floor((options.tokens ?? DEFAULT_TEXT_TOKENS) / texts.length));
  const unit = "index:texts";
  const tapped = await TappedLayer.open(options.model, sae, {
    layer,
    device: options.device,
    dtype: options.dtype,
  });
  const sets: IndexedSet[] = [];
  const hashes: { hash: string; nRows: number }[] = [];
  try {
    for (const text of texts) {
      const title = `texts: ${text.name} through the model`;
      options.onEvent?.({ kind: "begin", unit, title, resumed: false });
      const begun = performance.now();
      const batch = await transferWindows(
        text,
        text.kind === "chat" ? tapped.chatTokenizer : tapped.tokenizer,
        {
          protocol: "full",
          contextSize: options.contextSize ?? sae.config.contextSize ?? 256,
          tokens,
          prependBos: sae.config.prependBos ?? true,
        },
      );
      const { nRows, ...rows } = await tapped.rows(batch, (done) => {
        options.signal?.throwIfAborted();
        options.onEvent?.({
          kind: "progress",
          unit,
          progress: { done, total: batch.nWindows, unit: "windows" },
        });
      });
      const windows = windowsInMemory(text.name, batch);
      sets.push({
        tokens: rowsSource(
          { ...rows, dIn: tapped.model.info.dIn, set: text.name, hookName: canonicalHookName(layer) },
          {},
        ),
        windows,
        sourceOf: () => text.name,
      });
      hashes.push({ hash: windows.hash, nRows });
      options.onEvent?.({ kind: "done", unit, title, seconds: (performance.now() - begun) / 1000 });
    }
  } finally {
    await tapped.close();
  }
  return { sets, hash: dataHashOf(hashes), async close() {} };
}

async function vocabularyOf(model: string | undefined): Promise<Vocabulary | null> {
  return model === undefined ? null : new Vocabulary(await readTokenizerFolder(model));
}

/** @throws {DataError} the index is of other tokens, or of another SAE than the one named */
async function baseOf(
  { baseIndex, baseSae }: IndexSaeOptions,
  dataHash: string,
): Promise<WantedIndex["base"]> {
  if (baseIndex === undefined && baseSae === undefined) return null;
  const manifest = baseIndex === undefined ? null : await readIndexManifest(baseIndex);
  if (manifest !== null && manifest.data.hash !== dataHash)
    throw new DataError(`${baseIndex} is of other tokens: densities could not be compared`, {
      hint: "index the base SAE on the same data, with the same --tokens",
    });
  const hash = baseSae === undefined ? manifest!.sae.hash : saeIdentity(await loadSae(baseSae)).hash;
  if (manifest !== null && manifest.sae.hash !== hash)
    throw new DataError(`${baseIndex} is not an index of ${baseSae}`, {
      hint: "name the SAE that was indexed",
    });
  return {
    name: baseSae === undefined ? manifest!.sae.name : publicName(baseSae),
    hash,
    index: baseIndex === undefined ? null : publicName(baseIndex),
    density: baseIndex === undefined ? null : await densitiesOf(baseIndex),
    load: baseSae === undefined ? null : () => loadSae(baseSae),
  };
}
