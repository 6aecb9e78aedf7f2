/**
 * One SAE on several models, texts and stores: evaluated, diagnosed, judged, side by side. One model is open at a time,
 * and the activations of one text at a time are in memory; nothing is written.
 */
import { openActivationStore } from "../../activations/store.ts";
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import type { WindowBatch } from "../../corpus/windows.ts";
import { RecipeError, ResourceError, UnsupportedError } from "../../errors.ts";
import { verdict } from "../../evals/diagnosis.ts";
import { TRANSFER_LIMITS } from "../../evals/diagnosis-limits.ts";
import { type EvaluateOptions, evaluate, evaluateRows } from "../../evals/evaluate.ts";
import { saeIdentity } from "../../evals/result.ts";
import { evaluateSplice, windowsInMemory } from "../../evals/splice.ts";
import { rowsSource, storeSource } from "../../evals/token-source.ts";
import { diagnoseTransfer, type Home, TRANSFER_DEFINITIONS } from "../../evals/transfer.ts";
import type { TransferCell, TransferReport } from "../../evals/transfer-report.ts";
import { mainCells } from "../../evals/transfer-table.ts";
import { kOf } from "../../evals/transfer-threshold.ts";
import type { EngineFactory } from "../../kernels/kernels.ts";
import { openSplicedModel } from "../../models/open-spliced.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import type { RunEvent } from "../context.ts";
import { availableMemory } from "../resources.ts";
import { layerOf, TappedLayer, type TappedLayerOptions } from "./tapped-layer.ts";
import type { TransferText } from "./texts.ts";
import { transferWindows } from "./windows.ts";

/** A model, or a store of its activations, and what the table calls it. */
export interface Named {
  readonly name: string;
  /** a folder here */
  readonly path: string;
}

/** Which SAE, on which models, texts and stores. */
export interface TransferOptions {
  /** as the user named it */
  readonly name: string;
  readonly sae: Sae;
  /** the model that the SAE was made for, or null */
  readonly base: Named | null;
  readonly models: readonly Named[];
  readonly texts: readonly TransferText[];
  readonly protocols: readonly ("short" | "full")[];
  /** kept tokens a text and protocol; a window's more */
  readonly tokens: number;
  /** also what the SAE does to the model's predictions, on the windows that a model and text are judged by; default false */
  readonly splice?: boolean;
  /** tokens a window under the full protocol; default: the SAE's context size, else 256 */
  readonly contextSize?: number;
  /** default: the layer that the SAE's hook point names */
  readonly layer?: number;
  /** activations of the base model, and of others; a base store goes with the stores of the same set, a single one with all */
  readonly baseStores: readonly Named[];
  readonly stores: readonly Named[];
  readonly createEngine: EngineFactory;
  /** of the engine; ONNX Runtime takes all cores */
  readonly threads?: number;
  readonly device?: TappedLayerOptions["device"];
  readonly dtype?: string;
  /** of samples, halves and intervals; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

/**
 * @throws {RecipeError} two models or stores of one name, or nothing to evaluate on
 * @throws {ShapeError} the SAE is of another width than a model
 * @throws {UnsupportedError} a transcoder
 * @throws {ResourceError} the activations of one text would not fit in memory
 */
export async function evaluateTransfer(options: TransferOptions): Promise<TransferReport> {
  if (options.sae.config.output !== undefined)
    throw new UnsupportedError(
      `${options.name} is a transcoder: it predicts another stream than it reads`,
      "transfer is judged for SAEs, which reconstruct what they read",
    );
  refuseTwins([...(options.base === null ? [] : [options.base]), ...options.models], "models");
  if (options.texts.length > 0) await refuseMemory(options);
  const inference = await openInference(options.sae, options.createEngine, { threads: options.threads });
  try {
    const cells = [...(await onTexts(inference, options)), ...(await onStores(inference, options))];
    if (cells.length === 0)
      throw new RecipeError("what shall the SAE be evaluated on?", "a model and a text, or a store");
    const { name, sae } = options;
    return {
      format: "lapidary-transfer",
      version: 1,
      name,
      sae: saeIdentity(sae),
      layer: options.layer ?? (sae.config.hookName === null ? null : layerOf(sae)),
      k: kOf(sae),
      definitions: TRANSFER_DEFINITIONS,
      limits: TRANSFER_LIMITS,
      cells,
    };
  } finally {
    await inference.dispose();
  }
}

/** The base model first: the others are compared with it. */
async function onTexts(inference: InferenceSae, options: TransferOptions): Promise<TransferCell[]> {
  const { base, models, texts } = options;
  if (texts.length === 0) return [];
  const homes: Homes = new Map();
  const cells: TransferCell[] = [];
  const all = [
    ...(base === null ? [] : [{ ...base, isBase: true }]),
    ...models.map((model) => ({ ...model, isBase: false })),
  ];
  const templateFrom = await firstTemplate(all);
  for (const model of all) {
    const read = await onModel(inference, { ...model, templateFrom }, homes, options);
    cells.push(
      ...(options.splice ? await spliced(inference, model, read, options) : read.map(({ cell }) => cell)),
    );
  }
  return cells;
}

/** The folder of the first model that has a chat template. */
async function firstTemplate(models: readonly Named[]): Promise<string | undefined> {
  for (const { path } of models) if ((await readTokenizerFolder(path)).chatTemplate !== null) return path;
  return undefined;
}

/** By protocol and text. */
type Homes = Map<string, Home>;
interface Model extends Named {
  readonly isBase: boolean;
  /** see `TappedLayerOptions` */
  readonly templateFrom?: string;
}
interface Read {
  readonly cell: TransferCell;
  readonly windows: WindowBatch;
}

/** All texts through the lower part of one model. */
async function onModel(
  inference: InferenceSae,
  model: Model,
  homes: Homes,
  options: TransferOptions,
): Promise<Read[]> {
  const { sae, texts, protocols, device, dtype } = options;
  const layer = options.layer ?? layerOf(sae);
  const tapped = await TappedLayer.open(model.path, sae, {
    layer,
    device,
    dtype,
    templateFrom: model.templateFrom,
  });
  const read: Read[] = [];
  try {
    for (const text of texts)
      for (const protocol of protocols) {
        const windows = await transferWindows(
          text,
          text.kind === "chat" ? tapped.chatTokenizer : tapped.tokenizer,
          {
            protocol,
            contextSize: options.contextSize ?? sae.config.contextSize ?? 256,
            tokens: options.tokens,
            prependBos: sae.config.prependBos ?? true,
          },
        );
        const key = `${protocol} ${text.name}`;
        const { judged, home } = await onWindows(inference, tapped, windows, options, {
          title: `${model.name}, ${text.name}, ${protocol}`,
          set: text.name,
          home: model.isBase ? null : (homes.get(key) ?? null),
        });
        if (model.isBase) homes.set(key, home);
        const { name, isBase } = model;
        const windowTokens = windows.contextSize;
        const cell = {
          model: name,
          isBase,
          text: text.name,
          protocol,
          windowTokens,
          splice: null,
          ...judged,
        };
        read.push({ cell, windows });
      }
  } finally {
    await tapped.close();
  }
  return read;
}

/** The cells, those that a model and text are judged by with what the SAE does to the whole model's predictions. */
async function spliced(
  inference: InferenceSae,
  { name, path }: Model,
  read: readonly Read[],
  options: TransferOptions,
): Promise<TransferCell[]> {
  const { sae, device, dtype, seed, signal, tokens } = options;
  const layer = options.layer ?? layerOf(sae);
  const main = new Set(mainCells(read.map(({ cell }) => cell)));
  const model = await openSplicedModel(path, { layers: [layer], device, dtype });
  const cells: TransferCell[] = [];
  try {
    for (const { cell, windows } of read) {
      if (!main.has(cell)) {
        cells.push(cell);
        continue;
      }
      const report = reporter(options, `${name}, ${cell.text}, spliced in`);
      const [splice] = await evaluateSplice({
        model,
        windows: windowsInMemory(cell.text, windows),
        saes: new Map([[layer, inference]]),
        tokens,
        seed,
        signal,
        onProgress: ({ done, total }) => report(done, total, "tokens"),
      });
      cells.push({ ...cell, splice });
    }
  } finally {
    await model.close();
  }
  return cells;
}

type Judged = Pick<TransferCell, "result" | "diagnosis" | "verdict">;

async function onWindows(
  inference: InferenceSae,
  tapped: TappedLayer,
  windows: WindowBatch,
  options: TransferOptions,
  about: { title: string; set: string; home: Home | null },
): Promise<{ judged: Judged; home: Home }> {
  const report = reporter(options, about.title);
  const { nRows: _, ...labelled } = await tapped.rows(windows, (done) =>
    report(done, windows.nWindows, "windows"),
  );
  const rows = {
    ...labelled,
    dIn: tapped.model.info.dIn,
    set: about.set,
    hookName: canonicalHookName(tapped.model.layers[0]),
  };
  const { seed, signal } = options;
  const evaluation = await evaluateRows(inference, rows, {
    ...(await tapped.labels(windows)),
    ...evaluateOptions(options, report),
  });
  const { diagnosis, home } = await diagnoseTransfer(inference, rowsSource(rows, {}), evaluation, {
    home: about.home,
    seed,
    signal,
  });
  return { judged: { result: evaluation.result, diagnosis, verdict: verdict(diagnosis) }, home };
}

async function onStores(inference: InferenceSae, options: TransferOptions): Promise<TransferCell[]> {
  const homes = new Map<string, Home>();
  const cells: TransferCell[] = [];
  const all = [
    ...options.baseStores.map((store) => ({ ...store, isBase: true })),
    ...options.stores.map((store) => ({ ...store, isBase: false })),
  ];
  for (const { name, path, isBase } of all) {
    const store = await openActivationStore(path);
    try {
      const report = reporter(options, name);
      const { set } = store.manifest;
      const evaluation = await evaluate(inference, store, evaluateOptions(options, report));
      const alone = homes.size === 1 ? [...homes.values()][0] : null;
      const { diagnosis, home } = await diagnoseTransfer(inference, storeSource(store, {}), evaluation, {
        home: isBase ? null : (homes.get(set) ?? alone),
        seed: options.seed,
        signal: options.signal,
      });
      if (isBase) homes.set(set, home);
      cells.push({
        model: name,
        isBase,
        text: set,
        protocol: "store",
        windowTokens: null,
        result: evaluation.result,
        diagnosis,
        verdict: verdict(diagnosis),
        splice: null,
      });
    } finally {
      await store.close();
    }
  }
  return cells;
}

type Report = (done: number, total: number, unit: string) => void;

/** Tells that a piece of work begins, and how far it is. */
function reporter({ onEvent }: TransferOptions, title: string): Report {
  onEvent?.({ kind: "begin", unit: "eval", title, resumed: false });
  return (done, total, unit) =>
    onEvent?.({ kind: "progress", unit: "eval", progress: { done, total, unit } });
}

function evaluateOptions({ seed, signal }: TransferOptions, report: Report): EvaluateOptions {
  return { seed, signal, onProgress: ({ done, total }) => report(done, total, "tokens") };
}

/** Two rows of a table could not be told apart. */
function refuseTwins(named: readonly Named[], what: string): void {
  const names = named.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) < i);
  if (twin !== undefined)
    throw new RecipeError(`two ${what} are called "${twin}"`, "name them: --model NAME=FOLDER");
}

/** @throws {ResourceError} half of the memory that is free would not hold the activations of one text */
async function refuseMemory({ sae, tokens }: TransferOptions): Promise<void> {
  const bytes = tokens * sae.config.dIn * 4;
  const free = await availableMemory();
  if (bytes <= free / 2) return;
  throw new ResourceError(
    `${tokens} tokens of ${sae.config.dIn} activations take ${(bytes / 1e9).toFixed(1)} GB of memory, ${(free / 1e9).toFixed(1)} GB is free`,
    "fewer --tokens, or harvest a store with a recipe and name it with --data",
  );
}
