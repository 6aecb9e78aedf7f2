/** What `lapidary inspect` says of an SAE or a transcoder, in whichever format it lies. */
import type { Sae, SaeConfig } from "../sae/sae.ts";
import { count } from "./progress.ts";

/** Lines for people and the same as a value. */
export interface Inspection {
  readonly lines: readonly string[];
  readonly value: unknown;
}

/** Reads the decoder for its norms, and the encoder not at all. @throws as `openSae` */
export async function inspectSae(location: string): Promise<Inspection> {
  const { loadSparsity, openSae } = await import("../sae/load.ts");
  const { decoderNormsOf } = await import("../sae/fold.ts");
  const { rows, ...sae } = await openSae(location, { transcoders: "read" });
  const norms = await decoderNormsOf(rows).finally(() => rows.close());
  const { config, threshold, runnerConfig, origin } = sae;
  const sparsity = await loadSparsity(location);
  const silent = sparsity?.reduce((n, value) => n + (value <= -9.99 ? 1 : 0), 0);
  const value = {
    kind: config.output === undefined ? "sae" : "transcoder",
    config,
    origin,
    decoderNorm: spread(norms),
    threshold: threshold && spread(threshold),
    neverFired: silent ?? null,
    runnerConfig,
  };
  const said: [what: string, text: string | null][] = [
    ["format", origin === undefined ? null : `${origin.dialect}: ${origin.architecture}, ${config.dtype}`],
    ["hook point", config.hookName ?? "not recorded"],
    ["predicts", config.output === undefined ? null : (config.output.hookName ?? "not recorded")],
    ["model", config.modelName ?? "not recorded"],
    ["context", `${config.contextSize ?? "?"} tokens, BOS ${bos(config)}`],
    ["inputs", inputs(config)],
    ["decoder norms", range(spread(norms))],
    ["thresholds", threshold === null ? null : range(spread(threshold))],
    ["k", config.k === null ? null : String(config.k)],
    ["skip", sae.skip === undefined ? null : "x · skipᵀ is added to the output"],
    [
      "never fired",
      silent === undefined ? null : `${count(silent)} latents on the sets behind sparsity.safetensors`,
    ],
    ["training", config.output === undefined ? training(sae) : null],
    ...(origin?.notes ?? []).map((note): [string, string] => ["note", note]),
  ];
  const lines = said.flatMap(([what, text]) => (text === null ? [] : [`  ${what.padEnd(13)}  ${text}`]));
  return { lines: [title(config), ...lines], value };
}

function title({ architecture, dIn, dSae, output }: SaeConfig): string {
  const sizes = `${dIn} → ${count(dSae)} latents`;
  if (output === undefined) return `SAE (${architecture}): ${sizes}`;
  return `Transcoder (${architecture}): ${sizes} → ${output.dOut}`;
}

function bos({ prependBos }: SaeConfig): string {
  if (prependBos === null) return "?";
  return prependBos ? "prepended" : "not prepended";
}

function inputs({ applyBDecToInput, normalization, reshape }: SaeConfig): string {
  const said = [
    ...(reshape === "hook_z" ? ["heads side by side"] : []),
    ...(normalization === "none" ? [] : [normalization]),
    applyBDecToInput ? "b_dec subtracted" : "b_dec not subtracted",
  ];
  return said.join(", ");
}

function training({ runnerConfig, config }: Pick<Sae, "runnerConfig" | "config">): string {
  if (runnerConfig !== null) return "k and widths are recorded";
  return config.k === null ? "needs k and widths from the recipe" : "k is recorded";
}

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

function spread(values: Float32Array): Spread {
  const sorted = values.slice().sort();
  return { min: sorted[0], median: sorted[sorted.length >> 1], max: sorted[sorted.length - 1] };
}

function range({ min, median, max }: Spread): string {
  return min === max
    ? `all ${min.toPrecision(4)}`
    : `${min.toPrecision(4)} to ${max.toPrecision(4)}, median ${median.toPrecision(4)}`;
}
