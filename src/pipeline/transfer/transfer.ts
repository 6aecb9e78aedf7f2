/**
 * One SAE on several models, texts and stores: evaluated, diagnosed, judged, side by side. One model is open at a time,
 * and the activations of one text at a time are in memory; nothing is written.
 */
import { RecipeError, ResourceError, UnsupportedError } from "../../errors.ts";
import { saeIdentity } from "../../evals/result.ts";
import { TRANSFER_LIMITS } from "../../evals/transfer/limits.ts";
import type { TransferReport } from "../../evals/transfer/report.ts";
import { kOf } from "../../evals/transfer/threshold.ts";
import { TRANSFER_DEFINITIONS } from "../../evals/transfer/transfer.ts";
import { openInference } from "../../sae/inference.ts";
import { availableMemory } from "../resources.ts";
import { onStores } from "./on-stores.ts";
import { onTexts } from "./on-texts.ts";
import type { TransferOptions } from "./options.ts";
import { layerOf } from "./tapped-layer.ts";

export type { Named, TransferOptions } from "./options.ts";

/**
 * @throws {RecipeError} two models, texts or stores of one name, or nothing to evaluate on
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
  refuseTwins([...(options.base === null ? [] : [options.base]), ...options.models], "model");
  refuseTwins(options.texts, "text");
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

/** Two rows of a table could not be told apart. */
function refuseTwins(named: readonly { readonly name: string }[], what: "model" | "text"): void {
  const names = named.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) < i);
  if (twin !== undefined)
    throw new RecipeError(
      `two ${what}s are called "${twin}"`,
      `name them: --${what} NAME=${what === "model" ? "FOLDER" : "FILE"}`,
    );
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
