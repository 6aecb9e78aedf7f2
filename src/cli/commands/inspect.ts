/** `lapidary inspect <what>`: what is this: an SAE, a transcoder, an activation store, a corpus set, a latent index, a model or a run? */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { DataError } from "../../errors.ts";
import { addCommonOptions, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";
import { count, formatBytes } from "../progress.ts";
import { type Inspection, inspectSae } from "../sae-text.ts";

export function addInspectCommand(program: Command): void {
  addCommonOptions(program.command("inspect"))
    .description("say what an SAE, an activation store, a corpus set, a latent index, a model or a run is")
    .argument("<what>", "a folder, the file of an SAE, or hf:owner/name[/path]")
    .option("--dtype <suffix>", "of a model with several variants: which")
    .addHelpText(
      "after",
      "\nExamples:\n  $ lapidary inspect assets/tiny-gemma/sae-base/layer_4\n  $ lapidary inspect runs/tiny-gemma\n  $ lapidary inspect hf:onnx-community/gemma-3-270m-it-ONNX",
    )
    .action(inspect);
}

async function inspect(what: string, options: CommonOptions & { dtype?: string }): Promise<void> {
  const output = createOutput(options);
  const dir = await resolved(what);
  const { lines, value } = await inspectFolder(dir, what, options);
  output.result(lines.join("\n"), value);
}

/** Of a repository a file is an SAE's, and comes with what lies beside it; a folder may be a model's as well. */
async function resolved(what: string): Promise<string> {
  const isFileOfHub = /^hf:.*\.(safetensors|npz|pt|pth|bin)(@[^/]*)?$/.test(what);
  if (isFileOfHub) return (await import("../../sae/location.ts")).localSae(what);
  const { resolveSource } = await import("../../hub/source.ts");
  return resolveSource(what.startsWith("hf:") ? what : resolve(what));
}

async function inspectFolder(dir: string, what: string, options: { dtype?: string }): Promise<Inspection> {
  const has = async (name: string) => (await stat(join(dir, name)).catch(() => null)) !== null;
  if (await has("run.json")) return inspectRun(dir);
  const { isSae } = await import("../../sae/load.ts");
  if (await isSae(dir)) return inspectSae(dir);
  if (await has("index.json")) return inspectIndex(dir);
  if (await has("manifest.json")) return inspectSet(dir);
  if ((await has("config.json")) || (await has("onnx")) || (await has("model.onnx")))
    return inspectModelFolder(dir, options);
  throw new DataError(`${what} is nothing Lapidary knows`, {
    hint: "an SAE has cfg.json (docs/formats/saes.md lists other formats), a store or corpus set manifest.json, a latent index index.json, a run run.json, a model config.json and .onnx files",
  });
}

async function inspectSet(dir: string): Promise<Inspection> {
  const { readJson } = await import("../../storage/json.ts");
  const manifest = await readJson<Record<string, unknown>>(join(dir, "manifest.json"));
  if (manifest.format === "lapidary-activations") {
    const { openActivationStore } = await import("../../activations/store.ts");
    const store = await openActivationStore(dir);
    const { nRows, dIn, dtype, hookName, set, shards, nNonFinite } = store.manifest;
    await store.close();
    const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
    const lines = [
      `Activation store: ${count(nRows)} rows of ${dIn} ${dtype}`,
      `  hook point  ${hookName}`,
      `  set         ${set}`,
      `  shards      ${shards.length}, ${formatBytes(bytes)}`,
      `  non-finite  ${nNonFinite} rows left out`,
    ];
    return { lines, value: { kind: "activations", ...store.manifest } };
  }
  const { openWindowSet } = await import("../../corpus/window-set.ts");
  const { manifest: windows } = await openWindowSet(dir);
  const lines = [
    `Corpus set "${windows.set}": ${count(windows.nWindows)} windows of ${windows.contextSize} tokens, ${count(windows.nKept)} kept`,
    `  packing   ${windows.packing}`,
    `  excluded  token ids ${windows.excludedTokenIds.join(", ") || "none"}`,
    ...windows.sources.map(
      (s) =>
        `  source    ${s.name} (${s.kind}): documents ${count(s.documents[0])} to ${count(s.documents[1])}, ${count(s.nKept)} tokens kept`,
    ),
  ];
  return { lines, value: { kind: "corpus", ...windows } };
}

/** Latents shown of each kind. */
const LATENTS_SHOWN = 5;

async function inspectIndex(dir: string): Promise<Inspection> {
  const { openIndex } = await import("../../dashboard/open-index.ts");
  const index = await openIndex(dir);
  try {
    const { manifest } = index;
    const { sae, data, base, splits, files } = manifest;
    const [facts] = await index.rows(
      `SELECT count(*) FILTER (n_active = 0)::INTEGER AS silent, median(density) AS median,
              count(*) FILTER (label <> '')::INTEGER AS labelled FROM latents`,
    );
    const most = await index.latents({ sort: "density", descending: true, limit: LATENTS_SHOWN });
    const moved = await index.latents({
      sort: "decoder_drift_cosine",
      where: [{ column: "n_active", is: ">", value: 0 }],
      limit: base === null ? 0 : LATENTS_SHOWN,
    });
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
    const silent = facts.silent as number;
    const lines = [
      `Latent index of ${sae.name}: ${count(sae.dSae)} latents on ${count(data.nTokens)} tokens of ${count(data.nDocuments)} documents`,
      `  sets       ${data.sets.join(", ")}${data.model === null ? "" : `, through ${data.model}`}`,
      `  never fire ${count(silent)} (${((100 * silent) / sae.dSae).toFixed(1)} %); median density ${(facts.median as number).toPrecision(3)}`,
      `  labels     ${count(facts.labelled as number)}`,
      `  sources    ${splits.source.map(({ name, nTokens }) => `${name} ${count(nTokens)}`).join(", ")}`,
      `  roles      ${splits.role.map(({ name, nTokens }) => `${name} ${count(nTokens)}`).join(", ")}`,
      `  most often ${most.map(({ latent, density }) => `${latent} (${density.toPrecision(3)})`).join(", ")}`,
      ...(base === null
        ? []
        : [
            `  moved most since ${base.name}: ${moved.map(({ latent, decoder_drift_cosine: c }) => `${latent} (cosine ${c?.toFixed(3) ?? "?"})`).join(", ")}`,
          ]),
      `  files      ${Object.values(files)
        .map(({ name, nRows }) => `${name} ${count(nRows)} rows`)
        .join(", ")}; ${formatBytes(bytes)}`,
    ];
    return { lines, value: { kind: "index", ...manifest, ...facts } };
  } finally {
    index.close();
  }
}

async function inspectModelFolder(dir: string, options: { dtype?: string }): Promise<Inspection> {
  const { inspectModel } = await import("../../models/inspect.ts");
  const info = await inspectModel(dir, options);
  const bytes = [...info.graphs, ...info.weights].reduce((sum, file) => sum + (file.bytes ?? 0), 0);
  const lines = [
    `Model${info.modelType === null ? "" : ` (${info.modelType})`}: ${info.graphs.map(({ name }) => name).join(" + ")}, ${info.dtype}, ${formatBytes(bytes)}`,
    `  residual  ${info.residual === null ? `not found: ${info.problem}` : `${info.residual.nLayers} layers (0 to ${info.residual.nLayers - 1}), numbered by ${info.residual.numberedBy}`}`,
    `  sizes     dIn ${info.dIn ?? "?"}, vocabulary ${info.vocabSize ?? "?"}, context ${info.contextSize ?? "?"}`,
    ...(info.dynamicQuantization
      ? ["  note      activations are quantised by batch: harvested one window at a time"]
      : []),
    ...info.weights.filter((file) => file.bytes === null).map(({ name }) => `  missing   ${name}`),
  ];
  return { lines, value: { kind: "model", ...info } };
}

async function inspectRun(dir: string): Promise<Inspection> {
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { openRun } = await import("../../pipeline/run.ts");
  const { tableRows } = await import("../../pipeline/stages/card.ts");
  const { formatBeforeAfterTable } = await import("../../evals/table.ts");
  const { basename, dirname } = await import("node:path");
  const loaded = await loadRecipe(join(dir, "recipe.yaml"), [`name=${JSON.stringify(basename(dir))}`]);
  const context = await openRun(loaded, { runsFolder: dirname(dir) });
  const rows = await tableRows(context);
  const units = Object.entries(context.state.units);
  const width = Math.max(0, ...units.map(([id]) => id.length));
  const lines = [
    `Run "${loaded.recipe.name}": ${units.filter(([, unit]) => unit.state === "done").length} of ${units.length} steps begun are done`,
    ...units.map(
      ([id, unit]) =>
        `  ${unit.state === "done" ? "✓" : "…"} ${id.padEnd(width)} ${unit.seconds.toFixed(1).padStart(8)} s`,
    ),
    ...(rows.length > 0 ? ["", formatBeforeAfterTable(rows, { model: context.modelName })] : []),
  ];
  return { lines, value: { kind: "run", recipe: loaded.recipe, units: context.state.units, rows } };
}
