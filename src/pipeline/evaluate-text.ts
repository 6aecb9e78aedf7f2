/** An SAE on a text, in memory and in seconds: does it fit this model? Nothing is written. */
import { TokenizerPool } from "../corpus/tokenizer-pool.ts";
import { windowsFromText } from "../corpus/windows-from-text.ts";
import { RecipeError, ShapeError } from "../errors.ts";
import { evaluateRows } from "../evals/evaluate.ts";
import type { EvalResult } from "../evals/result.ts";
import { harvestWindows } from "../harvest/harvest-windows.ts";
import { planHarvest } from "../harvest/plan.ts";
import type { EngineFactory } from "../kernels/kernels.ts";
import { openResidualModel } from "../models/open-model.ts";
import type { OpenModelOptions } from "../models/residual-model.ts";
import { canonicalHookName, parseHookName } from "../sae/hook-name.ts";
import { openInference } from "../sae/inference.ts";
import type { Sae } from "../sae/sae.ts";
import type { Progress } from "./context.ts";

/** Which SAE, which model, which text. */
export interface EvaluateTextOptions {
  readonly sae: Sae;
  /** folder with the ONNX files and the tokenizer */
  readonly modelFolder: string;
  readonly text: string;
  /** name of the text in the result */
  readonly name: string;
  /** default: the layer that the SAE's hook point names */
  readonly layer?: number;
  /** tokens a window; default: the SAE's context size, else 256 */
  readonly contextSize?: number;
  readonly createEngine: EngineFactory;
  /** of the engine; ONNX Runtime takes all cores */
  readonly threads?: number;
  readonly device?: OpenModelOptions["device"];
  readonly dtype?: string;
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Runs the text through the model up to the SAE's layer and evaluates the SAE on the kept tokens.
 * @throws {ShapeError} the SAE is of another width than the model
 */
export async function evaluateText(options: EvaluateTextOptions): Promise<EvalResult> {
  const { sae, modelFolder, text, name, createEngine, threads, device, dtype, onProgress } = options;
  const layer = options.layer ?? layerOf(sae);
  const model = await openResidualModel(modelFolder, { layers: [layer], device, dtype });
  if (model.info.dIn !== sae.config.dIn) {
    await model.close();
    throw new ShapeError(
      "width of the model's residual stream",
      model.info.dIn,
      `the SAE's ${sae.config.dIn}`,
      "this SAE was made for another model: name that one with --model",
    );
  }
  const tokenizer = await TokenizerPool.open(modelFolder, { workers: 1 });
  const inference = await openInference(sae, createEngine, { threads });
  try {
    const contextSize = options.contextSize ?? sae.config.contextSize ?? 256;
    const windows = await windowsFromText(text, tokenizer, contextSize);
    const { batchWindows } = planHarvest({
      contextSize,
      dIn: model.info.dIn,
      nLayers: 1,
      oneByOne: model.info.dynamicQuantization,
    });
    const [rows] = await harvestWindows(model, windows, batchWindows, (done) =>
      onProgress?.({ done, total: windows.nWindows, unit: "windows" }),
    );
    const { result } = await evaluateRows(inference, {
      activations: rows.activations,
      dIn: model.info.dIn,
      set: name,
      hookName: canonicalHookName(layer),
    });
    return result;
  } finally {
    await inference.dispose();
    await tokenizer.close();
    await model.close();
  }
}

/** The layer whose output an SAE reads. @throws {RecipeError} its configuration does not say */
function layerOf(sae: Sae): number {
  if (sae.config.hookName === null)
    throw new RecipeError(
      "the SAE does not record its hook point",
      "say which layer's output it reads: --layer N",
    );
  return parseHookName(sae.config.hookName).layer;
}
