/**
 * An SAE as Gemma Scope's `params.npz` (`../dialects/gemma-scope.ts` says what the numbers mean there). A standard SAE is a
 * jumprelu SAE with thresholds of zero. Layer, site and model stand in the path of such files alone.
 */

import { resolve } from "node:path";
import { UnsupportedError } from "../../errors.ts";
import { plain, turned } from "../../formats/stored-tensor.ts";
import { fromPath } from "../dialects/gemma-scope.ts";
import { sameHookIfKnown } from "../hook-name.ts";
import type { Sae, SaeConfig } from "../sae.ts";
import type { Writer } from "./layout.ts";
import { lostFacts } from "./losses.ts";
import { refuseNormalization, refuseTranscoder, withCentring } from "./same-function.ts";

const WEIGHTS = "params.npz";

export const gemmaScopeWriter: Writer = {
  name: "Gemma Scope",
  files: [WEIGHTS],
  layOut(original, dtype, folder) {
    refuseOthers(original);
    if (dtype !== "float32")
      throw new UnsupportedError(
        `NumPy has no ${dtype}, so Gemma Scope's files hold float32`,
        "leave --dtype out",
      );
    const known = factsOfPath(original, folder);
    const { sae, notes } = withCentring(original, false);
    const { dIn, dSae } = sae.config;
    const { wEnc, wDec, bEnc, bDec } = sae.weights;
    const threshold = sae.threshold ?? new Float32Array(dSae);
    return {
      architecture: "jumprelu",
      weights: {
        name: WEIGHTS,
        tensors: [
          turned("W_enc", [dSae, dIn], wEnc, dtype),
          plain("W_dec", [dSae, dIn], wDec, dtype),
          plain("b_enc", [dSae], bEnc, dtype),
          plain("b_dec", [dIn], bDec, dtype),
          plain("threshold", [dSae], threshold, dtype),
        ],
      },
      json: {},
      lost: [
        ...(sae.threshold === null
          ? ["that it is plain ReLU: it has thresholds of zero, and the same latents"]
          : []),
        ...notes,
        ...lostFacts(original, known),
      ],
    };
  },
};

function refuseOthers(sae: Sae): void {
  if (sae.config.architecture === "topk")
    throw new UnsupportedError(
      "Gemma Scope holds jumprelu SAEs, and this one is topk",
      "write it in another format: --to saelens, sparsify or dictionary-learning",
    );
  refuseNormalization(sae, "Gemma Scope");
  refuseTranscoder(sae, "Gemma Scope");
}

/** What a reader takes from the path. @throws {UnsupportedError} it says something else than is true */
function factsOfPath({ config }: Sae, folder: string): Partial<SaeConfig> {
  const { known, isTranscoder } = fromPath(resolve(folder));
  const { hookName, modelName } = config;
  const hint = "Gemma Scope's facts stand in the names of folders: choose others";
  const refuse = (said: string) =>
    new UnsupportedError(`by its path, ${folder}, this would be ${said}`, hint);
  if (isTranscoder) throw refuse("a transcoder");
  if (known.hookName && hookName !== null && sameHookIfKnown(known.hookName, hookName) !== true)
    throw refuse(`of ${known.hookName}, and it is of ${hookName}`);
  if (known.modelName && modelName !== null && known.modelName !== modelName)
    throw refuse(`of ${known.modelName}, and it is of ${modelName}`);
  return known;
}
