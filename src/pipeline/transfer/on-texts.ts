/**
 * One SAE on texts as models read them, one model after another: texts to windows, windows to activations in memory,
 * evaluated and diagnosed there; then, if asked for, spliced into the whole model.
 */
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import type { WindowBatch } from "../../corpus/windows.ts";
import { evaluateRows } from "../../evals/evaluate.ts";
import { evaluateSplice, windowsInMemory } from "../../evals/splice/splice.ts";
import { rowsSource } from "../../evals/token-source.ts";
import { verdict } from "../../evals/transfer/diagnosis.ts";
import type { TransferCell } from "../../evals/transfer/report.ts";
import { mainCells } from "../../evals/transfer/table.ts";
import { diagnoseTransfer, type Home } from "../../evals/transfer/transfer.ts";
import { openSplicedModel } from "../../models/open-spliced.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import { evaluateOptions, type Named, reporter, type TransferOptions } from "./options.ts";
import { layerOf, TappedLayer } from "./tapped-layer.ts";
import { transferWindows } from "./windows.ts";

/** The base model first: the others are compared with it. */
export async function onTexts(inference: InferenceSae, options: TransferOptions): Promise<TransferCell[]> {
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
