/**
 * An SAE as dictionary_learning's state dicts have it (`../dialects/dictionary-learning.ts` says what the numbers mean
 * there), as `ae.safetensors` in place of the pickled `ae.pt`, beside the library's `config.json`. The class is the one
 * whose `encode` computes the same.
 */

import type { TensorToWrite } from "../../formats/safetensors.ts";
import { plain, type StoredDtype, turned } from "../../formats/stored-tensor.ts";
import { canonicalHookName, parseHookName, residualLayer } from "../hook-name.ts";
import type { Sae } from "../sae.ts";
import { trainingRecord } from "../training-record.ts";
import type { Writer } from "./layout.ts";
import { lostFacts } from "./losses.ts";
import {
  type Rewritten,
  refuseNormalization,
  refuseTranscoder,
  withCentring,
  withoutRescaling,
} from "./same-function.ts";

const CONFIG = "config.json";
const WEIGHTS = "ae.safetensors";

export const dictionaryLearningWriter: Writer = {
  name: "dictionary_learning",
  files: [CONFIG, WEIGHTS],
  layOut(original, dtype) {
    refuseNormalization(original, "dictionary_learning");
    refuseTranscoder(original, "dictionary_learning");
    const { dictClass, tensors, trainer, notes, runner } = classOf(original, dtype);
    const { dIn, dSae, hookName, modelName, contextSize } = original.config;
    const layer = layerOf(hookName);
    const lost = lostFacts(
      original,
      { modelName, contextSize, hookName: layer === null ? null : canonicalHookName(layer) },
      runner,
    );
    return {
      architecture: dictClass,
      weights: { name: WEIGHTS, tensors },
      json: {
        [CONFIG]: {
          trainer: {
            dict_class: dictClass,
            activation_dim: dIn,
            dict_size: dSae,
            ...trainer,
            layer,
            lm_name: modelName,
            submodule_name: layer === null ? null : `resid_post_layer_${layer}`,
          },
          buffer: { d_submodule: dIn, ctx_len: contextSize },
        },
      },
      lost: [...notes, ...lost],
    };
  },
};

interface Dictionary {
  readonly dictClass: string;
  readonly tensors: readonly TensorToWrite[];
  /** what config.json says beside sizes and names */
  readonly trainer: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
  readonly runner?: string;
}

function classOf(sae: Sae, dtype: StoredDtype): Dictionary {
  switch (sae.config.architecture) {
    case "standard":
      return sae.config.applyBDecToInput
        ? dictionary("AutoEncoder", linear(sae, "bias", dtype))
        : dictionary("AutoEncoderNew", linear(sae, "decoder.bias", dtype));
    case "topk":
      return topk(sae, dtype);
    case "jumprelu":
      return batchTopk(sae, dtype) ?? jumprelu(withCentring(sae, false), dtype);
  }
}

function dictionary(
  dictClass: string,
  tensors: readonly TensorToWrite[],
  more: Partial<Dictionary> = {},
): Dictionary {
  return { dictClass, tensors, trainer: {}, notes: [], ...more };
}

function topk(original: Sae, dtype: StoredDtype): Dictionary {
  const unscaled = withoutRescaling(original);
  const { sae, notes } = withCentring(unscaled.sae, true);
  const { k } = sae.config;
  // A threshold of −1 was never set: the library then always takes the k largest.
  const tensors = [...linear(sae, "b_dec", dtype), ...counts(k ?? 0, -1)];
  return dictionary("AutoEncoderTopK", tensors, { trainer: { k }, notes: [...unscaled.notes, ...notes] });
}

function jumprelu({ sae, notes }: Rewritten, dtype: StoredDtype): Dictionary {
  const { dSae } = sae.config;
  const threshold = plain("threshold", [dSae], sae.threshold ?? new Float32Array(dSae), dtype);
  return dictionary("JumpReluAutoEncoder", [...matrices(sae, dtype), threshold], { notes });
}

/** For an SAE that was trained so, with one threshold for all latents; null for others. */
function batchTopk(sae: Sae, dtype: StoredDtype): Dictionary | null {
  const { config, threshold } = sae;
  const { architecture, k, widths, rescale } = trainingRecord(sae);
  const first = threshold?.[0] ?? -1;
  const hasOne = first >= 0 && threshold?.every((value) => value === first) === true;
  const isBatch = architecture !== null && architecture.value !== "topk";
  if (!hasOne || !isBatch || !config.applyBDecToInput || k === null || !Number.isInteger(k.value))
    return null;
  const runner = `runner_cfg.json, but for k${widths === null ? "" : " and widths"}${rescale === true ? "; decoder rows are taken to have norm one" : ""}`;
  const nested = [...(widths?.value ?? []).filter((width) => width < config.dSae), config.dSae];
  if (architecture.value === "batchtopk" || nested.length === 1)
    return dictionary("BatchTopKSAE", [...linear(sae, "b_dec", dtype), ...counts(k.value, first)], {
      trainer: { k: k.value },
      runner,
    });
  const sizes = nested.map((width, i) => width - (nested[i - 1] ?? 0));
  const groups = BigInt64Array.from(sizes, BigInt);
  const tensors: TensorToWrite[] = [
    ...matrices(sae, dtype),
    ...counts(k.value, first),
    { name: "group_sizes", dtype: "I64", shape: [sizes.length], data: groups },
  ];
  return dictionary("MatryoshkaBatchTopKSAE", tensors, {
    trainer: { k: k.value, group_sizes: sizes },
    runner,
  });
}

/** Two torch.nn.Linear. */
function linear({ config, weights }: Sae, decoderBias: string, dtype: StoredDtype): TensorToWrite[] {
  const { dIn, dSae } = config;
  return [
    plain("encoder.weight", [dSae, dIn], weights.wEnc, dtype),
    plain("encoder.bias", [dSae], weights.bEnc, dtype),
    turned("decoder.weight", [dSae, dIn], weights.wDec, dtype),
    plain(decoderBias, [dIn], weights.bDec, dtype),
  ];
}

function matrices({ config, weights }: Sae, dtype: StoredDtype): TensorToWrite[] {
  const { dIn, dSae } = config;
  return [
    turned("W_enc", [dSae, dIn], weights.wEnc, dtype),
    plain("b_enc", [dSae], weights.bEnc, dtype),
    plain("W_dec", [dSae, dIn], weights.wDec, dtype),
    plain("b_dec", [dIn], weights.bDec, dtype),
  ];
}

/** The buffers beside the parameters; a threshold stays float32. */
function counts(k: number, threshold: number): TensorToWrite[] {
  return [
    { name: "k", dtype: "I32", shape: [], data: Int32Array.of(k) },
    { name: "threshold", dtype: "F32", shape: [], data: Float32Array.of(threshold) },
  ];
}

/** The library's own names are of layers' outputs. */
function layerOf(hookName: string | null): number | null {
  if (hookName === null) return null;
  try {
    return residualLayer(parseHookName(hookName));
  } catch {
    return null; // a name that is no layer's
  }
}
