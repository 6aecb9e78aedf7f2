/**
 * The model card: Markdown made from measured numbers alone. `CardFacts` is filled from result files by the pipeline;
 * nothing in a card is written by hand, and what was not measured is not claimed.
 */
import { formatBeforeAfterMarkdown, type SetScore } from "../evals/table.ts";
import type { ResamplingNote } from "../train/progress.ts";
import type { CardFacts, CardLayer } from "./card-facts.ts";

/** The whole card. */
export function renderCard(facts: CardFacts): string {
  return [
    frontMatter(facts),
    `# ${facts.title}`,
    introduction(facts),
    "## Does it fit?",
    formatBeforeAfterMarkdown(facts.rows, { model: facts.model }),
    gateNote(facts),
    definitions(facts),
    domains(facts),
    verification(facts),
    "## Use",
    usage(facts),
    "## How it was trained",
    training(facts),
    "## Dead latents",
    deadLatents(facts),
    "## Incidents",
    incidents(facts),
    "## Lineage and licence",
    lineage(facts),
    "## Limitations",
    limitations(facts),
  ]
    .filter((part) => part !== "")
    .join("\n\n")
    .concat("\n");
}

function frontMatter(facts: CardFacts): string {
  const lines = [
    "library_name: saelens",
    "tags:",
    "- sparse-autoencoder",
    "- interpretability",
    "- lapidary",
  ];
  if (facts.license !== null) lines.unshift(`license: ${JSON.stringify(facts.license)}`);
  if (facts.isHubModel) lines.push(`base_model: ${JSON.stringify(facts.model)}`);
  return `---\n${lines.join("\n")}\n---`;
}

function introduction({ model, source, layers, baseModel, isImported }: CardFacts): string {
  const list = layers.map(({ layer }) => layer).join(", ");
  const start =
    source === null
      ? "trained from scratch"
      : `continued from ${code(source)}${baseModel === null ? "" : `, which was made for ${code(baseModel)}`}`;
  const measured = isImported
    ? "The fit below was measured on activations made elsewhere and imported as held-out sets."
    : "The fit below was measured on texts that the training did not see.";
  return `Sparse autoencoders for the residual stream of ${code(model)} after decoder layer${layers.length > 1 ? "s" : ""} ${list}, ${start}. ${measured}`;
}

function gateNote({ layers, gate }: CardFacts): string {
  const below = layers.filter(({ belowGate }) => belowGate);
  if (gate === null) return "";
  if (below.length === 0) return `Gate: VE ≥ ${gate} on every held-out set, reached by every layer.`;
  return `**Below the gate.** The recipe asks for VE ≥ ${gate} on every set; layer${below.length > 1 ? "s" : ""} ${below.map(({ layer }) => layer).join(", ")} did not reach it. Treat ${below.length > 1 ? "them" : "it"} as unfinished.`;
}

function definitions({ definitions: all, sets, layers, isImported, evalPacking }: CardFacts): string {
  const metrics = Object.entries(all).map(([name, definition]) => `- **${name}**: ${definition}`);
  const held = sets.map(
    ({ name, nKept, sources }) =>
      `- **${name}**: ${thousands(nKept)} tokens of ${sources.map(code).join(", ")}`,
  );
  const claim = isImported
    ? "Held-out sets, of activations made elsewhere:"
    : "Held-out sets, disjoint from the training documents:";
  const names = Object.keys(all);
  const rows = layers.flatMap((layer) =>
    Object.entries(layer.metrics).map(
      ([set, values]) =>
        `| ${layer.layer} | ${set} | ${names.map((name) => number(values[name])).join(" | ")} |`,
    ),
  );
  const table = `| layer | set | ${names.join(" | ")} |\n|---|---|${names.map(() => "---|").join("")}\n${rows.join("\n")}`;
  const packed = isImported ? "" : `\n\nHeld-out windows: ${packingText(evalPacking)}.`;
  return `After, by every metric:\n\n${table}\n\n${metrics.join("\n")}\n\n${claim}\n\n${held.join("\n")}${packed}`;
}

function domains({ domains: rows }: CardFacts): string {
  if (rows.length === 0) return "";
  const score = ({ ve, l0 }: SetScore) => `${ve?.toFixed(3) ?? "undefined"} (${l0?.toFixed(1) ?? "–"})`;
  const lines = rows.map(
    ({ layer, domain, before, after, contextSize, nTokens }) =>
      `| ${layer} | ${domain} | ${before === null ? "–" : score(before)} | ${score(after)} | ${thousands(nTokens)} | ${thousands(contextSize)} |`,
  );
  const from = new Map(rows.map(({ domain, sources }) => [domain, sources]));
  const origins = [...from].map(([domain, sources]) => `- **${domain}**: ${sources.map(code).join(", ")}`);
  return `On texts unlike those of the training (not part of the gate), VE (L0):

| layer | domain | before | after | tokens | context |
|---|---|---|---|---|---|
${lines.join("\n")}

${origins.join("\n")}`;
}

function verification({ publication }: CardFacts): string {
  if (publication === null) return "";
  const { repository, revision, tolerance, layers } = publication;
  return `## Verification

Revision ${code(revision)} of ${code(repository)} was downloaded into an empty folder, and the SAE${layers.length > 1 ? "s" : ""} of layer${layers.length > 1 ? "s" : ""} ${layers.map(({ layer }) => layer).join(", ")} loaded from it and evaluated again on the held-out sets. The files hash to what was recorded when they were saved, and every metric is the recorded one to ${tolerance}. The hashes are in ${code("verification.json")}.`;
}

function usage({ layers, prependBos, excluded }: CardFacts): string {
  const { id, hookName } = layers[0];
  return `With [SAELens](https://github.com/decoderesearch/SAELens):

\`\`\`python
from sae_lens import SAE
sae = SAE.load_from_disk("${id}")   # the folder in this repository
latents = sae.encode(residual)      # residual: output of the hook point ${hookName}
\`\`\`

With Lapidary:

\`\`\`sh
lapidary inspect ${id}
lapidary eval ${id} --model <model folder or hub id> --text some.txt
\`\`\`

Inputs are residual-stream activations at the **output** of the decoder layer. ${prependBos ? "A BOS token was prepended to every window" : "No BOS token was prepended"}, and positions holding the token ids ${excluded.join(", ") || "(none)"} were excluded from training and evaluation: on those positions the SAE is untrained.`;
}

function training({ training: t, layers, contextSize, packing, seed }: CardFacts): string {
  const sources = t.sources.map(
    ({ name, kind, location, nKept }) =>
      `| ${name} | ${kind} | ${code(location)} | ${nKept === null ? "not known" : thousands(nKept)} |`,
  );
  const perLayer = layers.map(
    (l) =>
      `| ${l.layer} | ${code(l.id)} | ${l.dIn} | ${thousands(l.dSae)} | ${l.k ?? "–"} | ${l.widths.map(thousands).join(" / ")} | ${thousands(l.steps)} | ${thousands(l.tokens)} | ${l.threshold?.toFixed(4) ?? "–"} |`,
  );
  const polished = layers.filter(({ beforePolish }) => beforePolish !== null);
  const polish = polished.map(
    ({ layer, beforePolish }) =>
      `Layer ${layer} was polished (${t.polish}). VE before the polish: ${Object.entries(beforePolish ?? {})
        .map(([set, ve]) => `${set} ${ve?.toFixed(4) ?? "undefined"}`)
        .join(", ")}.`,
  );
  const rule = layers.find(({ learntRule }) => learntRule !== undefined)?.learntRule;
  const objective = rule === undefined ? "Matryoshka batch-topk" : rule.architecture;
  const terms =
    rule === undefined
      ? `threshold EMA ${t.thresholdLr}; auxiliary loss ${t.auxCoefficient === 0 ? "off" : t.auxCoefficient}`
      : `sparsity coefficient ${rule.sparsityCoefficient}`;
  return `${objective} objective, Adam, ${t.schedule} from ${t.lr}, ${thousands(t.batchTokens)} tokens a batch, ${t.epochs} epoch${t.epochs > 1 ? "s" : ""} over ${thousands(t.nKept)} kept tokens; ${terms}; resampling ${t.resampling}; seed ${seed}. Context ${contextSize} tokens, ${packingText(packing)}.

| source | kind | from | kept tokens |
|---|---|---|---|
${sources.join("\n")}

| layer | folder | d_in | d_sae | k | widths | steps | tokens seen | threshold |
|---|---|---|---|---|---|---|---|---|
${perLayer.join("\n")}${[polish, courses(layers), thresholds(layers)]
  .filter((lines) => lines.length > 0)
  .map((lines) => `\n\n${lines.join("\n")}`)
  .join("")}`;
}

/** What is worth saying of how trainings ended: early, or with a step that was not the best. */
function courses(layers: readonly CardLayer[]): string[] {
  return layers.flatMap(({ layer, courses: all }) =>
    all.flatMap(({ isPolish, steps, totalSteps, stopped, last, best, keptStep }) => {
      const name = `${isPolish ? "Polish" : "Training"} of layer ${layer}`;
      const lines: string[] = [];
      if (stopped !== null)
        lines.push(`- ${name} stopped early, after ${steps} of ${totalSteps} steps: ${stopped}.`);
      if (last !== null && best !== null && best.step !== last.step)
        lines.push(
          `- ${name}: held-out VE was best at step ${best.step} (${best.ve.toFixed(4)}; at the end ${last.ve.toFixed(4)}); the SAE of step ${keptStep} is kept.`,
        );
      return lines;
    }),
  );
}

/** Both thresholds of each layer, and which one its SAE has. */
function thresholds(layers: readonly CardLayer[]): string[] {
  return layers.flatMap(({ layer, threshold: average, calibration }) => {
    if (calibration === null || average === null) return [];
    const { used, threshold, l0, l0OfAverage, nTokens, sets, perLatent } = calibration;
    const own =
      perLatent === null
        ? ""
        : `; ${thousands(perLatent.nOwn)} latents have one of their own (L0 ${perLatent.l0?.toFixed(2) ?? "unknown"})`;
    const has = { ema: "the former", calibrated: "the latter", "calibrated-per-latent": "these" }[used];
    return [
      `- Threshold of layer ${layer}: moving average ${average.toFixed(4)} (L0 ${l0OfAverage.toFixed(2)} on ${thousands(nTokens)} held-out tokens of ${sets.map(code).join(", ")}), calibrated on them ${threshold.toFixed(4)} (L0 ${l0.toFixed(2)})${own}. The SAE has ${has}.`,
    ];
  });
}

function deadLatents({ layers, sets, training: t }: CardFacts): string {
  const names = sets.map(({ name }) => name);
  const rows = layers.map(
    (l) =>
      `| ${l.layer} | ${l.deadInTraining === null ? "not known: training was shorter" : thousands(l.deadInTraining)} | ${names.map((name) => `${thousands(l.neverFired[name] ?? 0)} of ${thousands(l.dSae)}`).join(" | ")} |`,
  );
  return `Two numbers that are often confused. *Dead in training*: did not fire in the last ${thousands(t.deadAfterTokens)} training tokens. *Never fired*: no activation above the threshold on a held-out set; rare latents count here without being dead.

| layer | dead in training | ${names.map((name) => `never fired: ${name}`).join(" | ")} |
|---|---|${names.map(() => "---|").join("")}
${rows.join("\n")}${resamplings(layers)}`;
}

function resamplings(layers: readonly CardLayer[]): string {
  const lines = layers.flatMap(({ layer, courses: all }) =>
    all.flatMap((course) =>
      course.resamplings.map((note) => `- Layer ${layer}, step ${note.step}: ${resamplingText(note)}`),
    ),
  );
  return lines.length === 0 ? "" : `\n\nResampled:\n\n${lines.join("\n")}`;
}

function resamplingText({ newcomers, dead, predicted, found, undone }: ResamplingNote): string {
  const change = ([before, after]: readonly [number | null, number | null]) =>
    `${number(before)} → ${number(after)}`;
  const { share, cut, ve } = predicted;
  const trial = `${thousands(newcomers)} of ${thousands(dead)} dead latents; predicted on a training batch: ${percent(share)} of the selection, cut ${change(cut)}, VE ${change(ve)}`;
  if (undone) return `${trial}; **undone**`;
  if (found === undefined) return trial;
  return `${trial}; found over ${found.steps} steps: ${percent(found.meanShare)} (at most ${percent(found.maxShare)}), threshold ${change(found.threshold)}, held-out VE ${change(found.ve)}`;
}

function incidents({ layers }: CardFacts): string {
  const lines = layers.flatMap(({ layer, incidents: list }) =>
    list.map(({ step, what }) => `- Layer ${layer}, step ${step}: ${what}`),
  );
  const audits = layers.flatMap(({ layer, audit }) =>
    audit === null
      ? []
      : [
          `- Layer ${layer}: selections were screened with a statistical margin, which may miss some; of ${thousands(audit.entries)} audited, ${thousands(audit.missed)} were missed`,
        ],
  );
  lines.push(...audits);
  return lines.length === 0 ? "None: the guard did not have to step in." : lines.join("\n");
}

function lineage({ source, license, model, modelFiles, software }: CardFacts): string {
  const files = modelFiles.map(
    ({ name, sha256, bytes }) =>
      `- ${code(name)}: ${sha256 === null ? `${thousands(bytes)} bytes` : `sha-256 ${code(sha256)}`}`,
  );
  return `${source === null ? "Trained from scratch." : `Continued from ${code(source)}.`} Licence: ${license ?? "not stated; the source SAE's and the model's terms apply"}. ${files.length === 0 ? `Activations of ${code(model)} were made elsewhere and imported.` : `Activations were harvested from ${code(model)}, files:\n\n${files.join("\n")}`}

Software: ${Object.entries(software)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")}.`;
}

function limitations({ sets, domains: domainScores, contextSize, layers }: CardFacts): string {
  const measured = [
    ...new Set([...sets.map(({ name }) => name), ...domainScores.map(({ domain }) => domain)]),
  ];
  const longest = Math.max(contextSize, ...domainScores.map((domain) => domain.contextSize));
  const lines = [
    `- Measured on ${measured.map(code).join(", ")} only; on other texts, languages or contexts longer than ${thousands(longest)} tokens the fit was not measured.`,
    "- The hook point is exact: the output of the decoder layer of the model files named above. Another precision or quantisation is another model.",
    "- A latent that fires is not an explanation: labels, if any, are hypotheses.",
  ];
  const unverified = layers.filter(({ verified }) => !verified);
  if (unverified.length > 0)
    lines.push(`- Not re-verified after saving: layers ${unverified.map(({ layer }) => layer).join(", ")}.`);
  return lines.join("\n");
}

/** Text from outside set as code, so that it cannot change the card's structure. */
function code(text: string): string {
  return `\`${text.replace(/[`\n\r|]/g, " ")}\``;
}

function packingText(packing: string): string {
  return packing === "saelens" ? "documents concatenated" : "one document a window";
}

function number(value: number | null | undefined): string {
  return value === null || value === undefined ? "undefined" : value.toPrecision(4);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function thousands(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}
