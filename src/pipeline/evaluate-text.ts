/** An SAE on a text, in memory and in seconds: does it fit this model? Nothing is written. */
import { windowsFromText } from "../corpus/windows-from-text.ts";
import { evaluateRows } from "../evals/evaluate.ts";
import type { EvalResult } from "../evals/result.ts";
import type { EngineFactory } from "../kernels/kernels.ts";
import type { OpenModelOptions } from "../models/residual-model.ts";
import { canonicalHookName } from "../sae/hook-name.ts";
import { openInference } from "../sae/inference.ts";
import type { Sae } from "../sae/sae.ts";
import type { Progress } from "./context.ts";
import { layerOf, TappedLayer } from "./transfer/tapped-layer.ts";

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
  const tapped = await TappedLayer.open(modelFolder, sae, { layer, device, dtype });
  try {
    const contextSize = options.contextSize ?? sae.config.contextSize ?? 256;
    const windows = await windowsFromText(text, tapped.tokenizer, contextSize);
    const { nRows: _, ...rows } = await tapped.rows(windows, (done) =>
      onProgress?.({ done, total: windows.nWindows, unit: "windows" }),
    );
    const inference = await openInference(sae, createEngine, { threads });
    try {
      const { result } = await evaluateRows(
        inference,
        { ...rows, dIn: tapped.model.info.dIn, set: name, hookName: canonicalHookName(layer) },
        await tapped.labels(windows),
      );
      return result;
    } finally {
      await inference.dispose();
    }
  } finally {
    await tapped.close();
  }
}
