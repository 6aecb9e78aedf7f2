/** What SAEs are compared on: activation stores, or texts run through a model, in memory. */
import type { ActivationRows } from "../../activations/activations.ts";
import { openActivationStore } from "../../activations/store.ts";
import { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { windowsFromText } from "../../corpus/windows-from-text.ts";
import { DataError } from "../../errors.ts";
import { evaluate, evaluateRows, type RowsToEvaluate } from "../../evals/evaluate.ts";
import { harvestWindows } from "../../harvest/harvest-windows.ts";
import { planHarvest } from "../../harvest/plan.ts";
import { openResidualModel } from "../../models/open-model.ts";
import type { OpenModelOptions } from "../../models/residual-model.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import type { ComparedData } from "./compare.ts";

/** An activation store on disk. Opened anew for each evaluation; its shards are checked as they are read. */
export async function storeData(dir: string): Promise<ComparedData> {
  const first = await openActivationStore(dir);
  await first.close();
  return {
    set: first.manifest.set,
    async evaluate(sae, options) {
      const store = await openActivationStore(dir);
      try {
        return await evaluate(sae, store, options);
      } finally {
        await store.close();
      }
    },
  };
}

/** Texts and the model that reads them. */
export interface TextsToCompareOn {
  /** each a document of its own */
  readonly texts: readonly { readonly name: string; readonly text: string }[];
  /** folder with the ONNX files and the tokenizer */
  readonly modelFolder: string;
  /** whose output the SAEs read */
  readonly layer: number;
  /** tokens a window */
  readonly contextSize: number;
  readonly device?: OpenModelOptions["device"];
  readonly dtype?: string;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** The texts as one set, each a document: with several of them differences have intervals. Harvested now, kept in memory. */
export async function textData(options: TextsToCompareOn): Promise<ComparedData> {
  const { texts, modelFolder, layer, contextSize, device, dtype, onProgress } = options;
  if (texts.length === 0) throw new DataError("no text to compare on", { hint: "--text FILE" });
  const model = await openResidualModel(modelFolder, { layers: [layer], device, dtype });
  const tokenizer = await TokenizerPool.open(modelFolder, { workers: 1 });
  try {
    const { dIn, dynamicQuantization } = model.info;
    const { batchWindows } = planHarvest({ contextSize, dIn, nLayers: 1, oneByOne: dynamicQuantization });
    const documents: ActivationRows[] = [];
    for (const [i, { text }] of texts.entries()) {
      onProgress?.({ done: i, total: texts.length });
      const windows = await windowsFromText(text, tokenizer, contextSize);
      const [rows] = await harvestWindows(model, windows, batchWindows);
      documents.push({ ...rows, document: rows.document.map(() => i) });
    }
    const set = texts.length === 1 ? texts[0].name : `${texts.length} texts`;
    const rows: RowsToEvaluate = { ...joined(documents), dIn, set, hookName: canonicalHookName(layer) };
    return { set, evaluate: (sae, evaluateOptions) => evaluateRows(sae, rows, evaluateOptions) };
  } finally {
    await tokenizer.close();
    await model.close();
  }
}

/** Documents' rows one after another; windows are numbered through. */
function joined(documents: readonly ActivationRows[]): Omit<RowsToEvaluate, "dIn" | "set" | "hookName"> {
  const nRows = documents.reduce((n, rows) => n + rows.nRows, 0);
  const dIn = documents[0].activations.length / documents[0].nRows;
  const all = {
    activations: new Float32Array(nRows * dIn),
    tokenIds: new Uint32Array(nRows),
    window: new Uint32Array(nRows),
    position: new Uint32Array(nRows),
    document: new Uint32Array(nRows),
    role: new Uint8Array(nRows),
  };
  let at = 0;
  let firstWindow = 0;
  for (const rows of documents) {
    all.activations.set(rows.activations, at * dIn);
    all.tokenIds.set(rows.tokenIds, at);
    all.window.set(
      rows.window.map((window) => window + firstWindow),
      at,
    );
    all.position.set(rows.position, at);
    all.document.set(rows.document, at);
    all.role.set(rows.role, at);
    at += rows.nRows;
    firstWindow += 1 + rows.window[rows.nRows - 1];
  }
  return all;
}
