/** What is lost when an SAE is written: facts that a format has no place for, and bits that its numbers lack. */
import type { StoredDtype } from "../../formats/stored-tensor.ts";
import { bf16ToF32, f32ToBf16 } from "../../tensor/half.ts";
import type { Sae, SaeConfig } from "../sae.ts";

/** Facts beside the weights, which a format may hold or not. */
export type Fact = "hookName" | "modelName" | "contextSize" | "prependBos";

const WORDS: Readonly<Record<Fact, string>> = {
  hookName: "hook point",
  modelName: "model",
  contextSize: "context size",
  prependBos: "BOS prepended",
};

/** Metadata that the facts above, or the conversion itself, already say. */
const SAID_ELSEWHERE = [
  "hook_name",
  "hook_name_out",
  "model_name",
  "context_size",
  "prepend_bos",
  "lapidary_converted_from",
];

/**
 * Facts that are known of the SAE and will not be read again, in words. `held`: what a reader will find; `runner`: what is
 * told of the training record.
 */
export function lostFacts(
  { config, runnerConfig }: Sae,
  held: Partial<Pick<SaeConfig, Fact>>,
  runner = "runner_cfg.json",
): string[] {
  const facts = (Object.keys(WORDS) as Fact[])
    .filter((fact) => config[fact] !== null && (held[fact] ?? null) === null)
    .map((fact) => `${WORDS[fact]}: ${config[fact]}`);
  const metadata = Object.keys(config.metadata).filter((key) => !SAID_ELSEWHERE.includes(key));
  const { hookName } = config;
  const isRespelled = hookName !== null && (held.hookName ?? hookName) !== hookName;
  return [
    ...facts,
    ...(isRespelled ? [`the spelling of the hook point, ${hookName}: it is read as ${held.hookName}`] : []),
    ...(config.reshape === "none" ? [] : ["that inputs are flattened by head (hook_z)"]),
    ...(metadata.length === 0 ? [] : [`metadata: ${metadata.slice(0, 12).join(", ")}`]),
    ...(runnerConfig === null ? [] : [runner]),
  ];
}

/** What becomes of the numbers themselves, in words. */
export function lostBits(sae: Sae, dtype: StoredDtype): string[] {
  const { config, origin, weights, threshold, skip } = sae;
  const isGated = /gated/i.test(origin?.architecture ?? "");
  const arrays = [weights.wEnc, weights.wDec, weights.bEnc, weights.bDec, threshold, skip];
  const isRounded = dtype === "bfloat16" && arrays.some((values) => values && !fitBf16(values));
  return [
    ...(isGated ? ["the gate: it is held as a jumprelu SAE that gives the same latents"] : []),
    ...(config.dtype === "float64" ? ["weights were rounded from float64 to float32"] : []),
    ...(isRounded ? [`weights were rounded from ${config.dtype} to bfloat16`] : []),
  ];
}

const PIECE = 1 << 20;

function fitBf16(values: Float32Array): boolean {
  for (let from = 0; from < values.length; from += PIECE) {
    const piece = values.subarray(from, from + PIECE);
    if (bf16ToF32(f32ToBf16(piece)).some((value, i) => value !== piece[i])) return false;
  }
  return true;
}
