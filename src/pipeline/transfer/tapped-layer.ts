/** A model up to one layer, and its tokenizer: texts in, activations of that layer out. */
import type { ActivationRows } from "../../activations/activations.ts";
import { differentToken } from "../../corpus/same-tokens.ts";
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { Vocabulary } from "../../corpus/vocabulary.ts";
import type { WindowBatch } from "../../corpus/windows.ts";
import { DataError, RecipeError, ShapeError } from "../../errors.ts";
import type { EvaluateOptions } from "../../evals/evaluate.ts";
import { windowsInMemory } from "../../evals/splice/splice.ts";
import { TokenClasses } from "../../evals/token-classes.ts";
import { TokenTexts } from "../../evals/token-texts.ts";
import { harvestWindows } from "../../harvest/harvest-windows.ts";
import { planHarvest } from "../../harvest/plan.ts";
import { openResidualModel } from "../../models/open-model.ts";
import type { OpenModelOptions, ResidualModel } from "../../models/residual-model.ts";
import { parseHookName } from "../../sae/hook-name.ts";
import type { Sae } from "../../sae/sae.ts";

/** Where the model is cut, and how it is run. */
export interface TappedLayerOptions extends Pick<OpenModelOptions, "device" | "dtype"> {
  readonly layer: number;
  /** folder of a model whose chat template serves where this one has none, as base models have not; default: none does */
  readonly templateFrom?: string;
}

/** Opened once a model, closed by whoever opened it. */
export class TappedLayer {
  readonly model: ResidualModel;
  readonly tokenizer: TokenizerPool;
  /** the same, or where this model has no chat template, one that has */
  readonly chatTokenizer: TokenizerPool;
  readonly #folder: string;
  #vocabulary: Promise<{ vocabulary: Vocabulary; classes: TokenClasses }> | null = null;

  private constructor(
    folder: string,
    model: ResidualModel,
    tokenizer: TokenizerPool,
    chatTokenizer: TokenizerPool,
  ) {
    this.#folder = folder;
    this.model = model;
    this.tokenizer = tokenizer;
    this.chatTokenizer = chatTokenizer;
  }

  /**
   * @throws {ShapeError} the model's residual stream is not as wide as the SAE's input
   * @throws {DataError} the template is to come from a model whose token ids mean something else
   */
  static async open(
    folder: string,
    sae: Sae,
    { layer, templateFrom, ...options }: TappedLayerOptions,
  ): Promise<TappedLayer> {
    const model = await openResidualModel(folder, { layers: [layer], ...options });
    try {
      if (model.info.dIn !== sae.config.dIn)
        throw new ShapeError(
          "width of the model's residual stream",
          model.info.dIn,
          `the SAE's ${sae.config.dIn}`,
          "this SAE was made for another model: name that one with --model",
        );
      const tokenizer = await TokenizerPool.open(folder, { workers: 1 });
      const borrows = tokenizer.facts.chatTemplateHash === null && templateFrom !== undefined;
      const chatTokenizer = borrows ? await borrowed(templateFrom, folder) : tokenizer;
      return new TappedLayer(folder, model, tokenizer, chatTokenizer);
    } catch (error) {
      await model.close();
      throw error;
    }
  }

  /** Rows of the kept tokens. Memory: these rows, and the residuals of three batches. */
  async rows(windows: WindowBatch, onWindows: (done: number) => void = () => {}): Promise<ActivationRows> {
    const { dIn, dynamicQuantization } = this.model.info;
    const { contextSize } = windows;
    const { batchWindows } = planHarvest({ contextSize, dIn, nLayers: 1, oneByOne: dynamicQuantization });
    const [rows] = await harvestWindows(this.model, windows, batchWindows, onWindows);
    return rows;
  }

  /** What an evaluation of these windows can say of its tokens beside their numbers. */
  async labels(windows: WindowBatch): Promise<Pick<EvaluateOptions, "labels" | "texts">> {
    this.#vocabulary ??= readTokenizerFolder(this.#folder).then((folder) => {
      const vocabulary = new Vocabulary(folder);
      return { vocabulary, classes: new TokenClasses(vocabulary, folder.facts) };
    });
    const { vocabulary, classes } = await this.#vocabulary;
    return {
      labels: { classOf: (tokenId) => classes.of(tokenId) },
      texts: new TokenTexts(windowsInMemory("", windows), vocabulary),
    };
  }

  async close(): Promise<void> {
    await this.tokenizer.close();
    await this.chatTokenizer.close();
    await this.model.close();
  }
}

/** @throws {DataError} the two folders' tokens are not the same */
async function borrowed(from: string, folder: string): Promise<TokenizerPool> {
  const difference = await differentToken(from, folder);
  if (difference !== null)
    throw new DataError(
      `${folder} has no chat template, and that of ${from} is for other tokens: ${difference.id} is ${JSON.stringify(difference.a)} there and ${JSON.stringify(difference.b)} here`,
      { hint: "evaluate on plain texts, or give this model a chat_template.jinja" },
    );
  return TokenizerPool.open(from, { workers: 1 });
}

/** The layer whose output an SAE reads. @throws {RecipeError} its configuration does not say */
export function layerOf(sae: Sae): number {
  if (sae.config.hookName === null)
    throw new RecipeError(
      "the SAE does not record its hook point",
      "say which layer's output it reads: --layer N",
    );
  return parseHookName(sae.config.hookName).layer;
}
