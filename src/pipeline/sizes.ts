/** The sizes a plan needs, read from configurations that are on this machine; null where they are not. */
import { stat } from "node:fs/promises";
import { RecipeError } from "../errors.ts";
import { loadSaeFacts } from "../sae/load.ts";
import type { RunContext } from "./context.ts";
import { modelFiles } from "./model-identity.ts";
import type { KnownSizes } from "./plan.ts";
import { isHubId, resolvePath } from "./recipe/file.ts";

/** Looks without downloading: hub sources that are not cached give null. */
export async function knownSizes(context: RunContext, options: { download: boolean }): Promise<KnownSizes> {
  const sae = await saeSizes(context, options.download);
  const model = await modelSizes(context, options.download);
  if (sae !== null && model !== null && model.dIn !== null && sae.dIn !== model.dIn) {
    throw new RecipeError(
      `the SAE reads ${sae.dIn} dimensions, the model's residual stream has ${model.dIn}`,
      "they do not belong together: check sae.from and model.source in the recipe",
    );
  }
  return {
    dIn: sae?.dIn ?? model?.dIn ?? context.recipe.model.dIn,
    dSae: sae?.dSae ?? scratchSize(context),
    modelBytes: model?.bytes ?? expectedModelBytes(context),
  };
}

/** Bytes a parameter, by the variant's name. */
const PARAMETER_BYTES: Readonly<Record<string, number>> = {
  fp32: 4,
  fp16: 2,
  bf16: 2,
  int8: 1,
  uint8: 1,
  q8: 1,
  quantized: 1,
};

/** Of a model that is not here: from its parameters and its variant, q4 and the like counted as half a byte. */
function expectedModelBytes(context: RunContext): number | null {
  const { parameters, dtype } = context.recipe.model;
  return parameters && parameters * (PARAMETER_BYTES[dtype ?? "fp32"] ?? 0.5);
}

function scratchSize(context: RunContext): number | null {
  const { sae, train } = context.recipe;
  return "scratch" in sae ? sae.scratch.dSae : (train.widths?.at(-1) ?? null);
}

async function saeSizes(
  context: RunContext,
  download: boolean,
): Promise<{ dIn: number; dSae: number } | null> {
  const { sae } = context.recipe;
  if (!("from" in sae) || (isHubId(sae.from) && !download)) return null;
  const folder = await context.saeFolder(context.recipe.layers[0]);
  const { dIn, dSae } = (await loadSaeFacts(folder)).config;
  return { dIn, dSae };
}

async function modelSizes(
  context: RunContext,
  download: boolean,
): Promise<{ dIn: number | null; bytes: number } | null> {
  const { source } = context.recipe.model;
  const location = resolvePath(source, context.folder);
  if (isHubId(location) ? !download : (await stat(location).catch(() => null)) === null) return null;
  const info = await context.inspectModel("model");
  return { dIn: info.dIn, bytes: modelFiles(info).reduce((sum, file) => sum + file.bytes, 0) };
}
