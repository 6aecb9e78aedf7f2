/**
 * An SAE as EleutherAI's sparsify writes it (`../dialects/sparsify.ts` says what the numbers mean there): topk SAEs and
 * transcoders. The module that it reads is the folder's name, and stands nowhere else.
 */

import { UnsupportedError } from "../../errors.ts";
import { plain, type StoredDtype } from "../../formats/stored-tensor.ts";
import { moduleOf } from "../dialects/sparsify.ts";
import { parseHookName, sameHookIfKnown } from "../hook-name.ts";
import type { Sae } from "../sae.ts";
import type { LaidOut, Writer } from "./layout.ts";
import { lostFacts } from "./losses.ts";
import { refuseNormalization, withCentring, withoutRescaling } from "./same-function.ts";

const CONFIG = "cfg.json";
const WEIGHTS = "sae.safetensors";

export const sparsifyWriter: Writer = {
  name: "sparsify",
  files: [CONFIG, WEIGHTS],
  layOut(original, dtype, folder) {
    refuseOthers(original);
    const hook = hookOf(original, folder);
    const unscaled = withoutRescaling(original);
    const { output, hookName, applyBDecToInput } = original.config;
    // Only a transcoder leaves b_dec in its input there.
    const { sae, notes } = withCentring(unscaled.sae, output === undefined || applyBDecToInput);
    const movesOn = output !== undefined && output.hookName !== null && output.hookName !== hookName;
    return {
      ...files(sae, dtype),
      lost: [
        ...unscaled.notes,
        ...notes,
        ...lostFacts(original, { hookName: hook }),
        ...(movesOn ? [`hook point of the output: ${output.hookName}`] : []),
      ],
    };
  },
};

function refuseOthers(sae: Sae): void {
  const { architecture, output, dIn, applyBDecToInput } = sae.config;
  if (architecture !== "topk")
    throw new UnsupportedError(
      `sparsify holds topk SAEs, and this one is ${architecture}`,
      "write it in another format: --to saelens, dictionary-learning or gemma-scope",
    );
  refuseNormalization(sae, "sparsify");
  if (output !== undefined && output.dOut !== dIn)
    throw new UnsupportedError(
      `sparsify's transcoders give as many values as they take: this one takes ${dIn} and gives ${output.dOut}`,
    );
  if (output !== undefined && applyBDecToInput && sae.skip === undefined)
    throw new UnsupportedError("sparsify takes b_dec from the input of SAEs alone, and this is a transcoder");
}

function files({ config, weights, skip }: Sae, dtype: StoredDtype): Omit<LaidOut, "lost"> {
  const { dIn, dSae, k, output, applyBDecToInput } = config;
  const isTranscoder = output !== undefined && !applyBDecToInput;
  return {
    architecture: `topk${isTranscoder ? " transcoder" : ""}${skip === undefined ? "" : " with a skip connection"}`,
    weights: {
      name: WEIGHTS,
      tensors: [
        plain("encoder.weight", [dSae, dIn], weights.wEnc, dtype),
        plain("encoder.bias", [dSae], weights.bEnc, dtype),
        plain("W_dec", [dSae, dIn], weights.wDec, dtype),
        plain("b_dec", [dIn], weights.bDec, dtype),
        ...(skip === undefined ? [] : [plain("W_skip", [dIn, dIn], skip, dtype)]),
      ],
    },
    json: {
      [CONFIG]: {
        activation: "topk",
        ...(dSae % dIn === 0 ? { expansion_factor: dSae / dIn } : {}),
        normalize_decoder: false, // rows are as they are
        num_latents: dSae,
        k,
        multi_topk: false,
        skip_connection: skip !== undefined,
        transcode: isTranscoder,
        d_in: dIn,
      },
    },
  };
}

/** The module by the folder's name. @throws {UnsupportedError} it is another than the SAE reads */
function hookOf({ config: { hookName, output } }: Sae, folder: string): string | null {
  const module = moduleOf(folder);
  if (module === null || hookName === null || module === hookName) return module;
  if (output === undefined && isOther(module, hookName))
    throw new UnsupportedError(
      `in a folder "${module}" sparsify takes this for an SAE of that module, and it reads ${hookName}`,
      "sparsify names folders after modules, e.g. layers.4 for the output of decoder layer 4",
    );
  return module;
}

function isOther(module: string, hookName: string): boolean {
  if (sameHookIfKnown(module, hookName) !== false) return false; // a name that is no layer's says nothing against it
  const [named, read] = [parseHookName(module), parseHookName(hookName)];
  return named.site === "resid_post" || named.layer !== read.layer;
}
