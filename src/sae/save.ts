/** An inference SAE as a directory that SAELens 6.18's `SAE.load_from_disk` loads. */
import { UnsupportedError } from "../errors.ts";
import { type WriteOptions, writeSaelens } from "../formats/saelens.ts";
import type { SaelensArchitecture } from "../formats/saelens-config.ts";
import type { Sae, SaeConfig } from "./sae.ts";

/** What is saved beside the SAE itself, and how exactly. */
export interface SaveOptions extends WriteOptions {
  /** added to `metadata` of cfg.json, over what the SAE's own metadata says */
  readonly extraMetadata?: Readonly<Record<string, unknown>>;
}

/**
 * Writes cfg.json, sae_weights.safetensors, and where given sparsity.safetensors and runner_cfg.json. The directory
 * appears whole or not at all; an SAE that was there is replaced. Returns size and sha-256 of the weights.
 * @throws {StateError} `dir` holds something else than an SAE
 * @throws {UnsupportedError} a value that is finite, and in bfloat16 would not be
 */
export async function saveSae(
  dir: string,
  sae: Sae,
  options: SaveOptions = {},
): Promise<{ bytes: number; sha256: string }> {
  const { config, weights, threshold, skip, runnerConfig } = sae;
  const { wEnc, wDec, bEnc, bDec } = weights;
  const { output, ...rest } = config;
  const metadata = { ...config.metadata, ...namedFacts(config), ...options.extraMetadata };
  return writeSaelens(
    dir,
    {
      config: {
        ...rest,
        architecture: saelensArchitecture(sae),
        dOut: output?.dOut ?? null,
        metadata,
        training: null,
      },
      wEnc,
      wDec,
      bEnc,
      bDec,
      threshold,
      gate: null,
      skip: skip ?? null,
      topkThreshold: null,
      runnerConfig,
    },
    options,
  );
}

/** SAELens' name for what `sae` is. @throws {UnsupportedError} it has none */
export function saelensArchitecture({ config, skip }: Pick<Sae, "config" | "skip">): SaelensArchitecture {
  const { architecture, output } = config;
  if (output === undefined) return architecture;
  if (architecture === "topk" || config.applyBDecToInput)
    throw new UnsupportedError(
      `SAELens has no transcoder that is ${architecture}${config.applyBDecToInput ? " and subtracts b_dec from its input" : ""}`,
      "keep it in the format it came in",
    );
  if (architecture === "standard") return skip === undefined ? "transcoder" : "skip_transcoder";
  return skip === undefined ? "jumprelu_transcoder" : "jumprelu_skip_transcoder";
}

/** The facts that the configuration names, where it knows them, by the file's keys. */
function namedFacts({
  hookName,
  modelName,
  contextSize,
  prependBos,
  output,
}: SaeConfig): Record<string, unknown> {
  const facts = {
    hook_name_out: output?.hookName ?? null,
    hook_name: hookName,
    model_name: modelName,
    context_size: contextSize,
    prepend_bos: prependBos,
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== null));
}
