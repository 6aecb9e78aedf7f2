/** What the numbers mean and where they come from: thresholds, definitions, provenance. */
import type { ReportFacts } from "../facts.ts";
import { PHASES } from "../facts.ts";
import { absent, type Section, table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, fixed, short } from "../numbers.ts";

export function thresholdsSection(facts: ReportFacts): Section {
  const rows = facts.layers.flatMap(({ layer, measurements, trainings }) => {
    const seen = new Set<string>();
    const measured = measurements.flatMap(({ phase, result: { threshold, sae } }) => {
      if (threshold === null || seen.has(sae.hash)) return [];
      seen.add(sae.hash);
      const name = phase === "home" || phase === "before" ? "source SAE" : PHASES[phase];
      return [
        [
          `${layer}, ${name}`,
          ...[threshold.min, threshold.median, threshold.mean, threshold.max].map((value) => short(value)),
        ],
      ];
    });
    const learnt = trainings.flatMap(({ name, events }) => {
      const end = events.find(({ event }) => event === "end");
      return typeof end?.threshold === "number"
        ? [[`${layer}, end of ${name} (moving average)`, "", "", short(end.threshold), ""]]
        : [];
    });
    return [...measured, ...learnt];
  });
  return {
    id: "thresholds",
    title: "Thresholds",
    body:
      rows.length === 0
        ? absent("These SAEs have no thresholds.")
        : [
            html`<p>A latent is active where its pre-activation exceeds its threshold; units of pre-activations, which differ between an SAE in training, whose decoder rows have norms of their own, and the saved one.</p>
`,
            table({
              caption: "Thresholds of the latents",
              columns: ["layer, SAE", "least", "median", "mean", "greatest"],
              rows,
            }),
            choices(facts),
          ],
  };
}

/** The recipe's names of thresholds, in words. */
const CHOSEN: Readonly<Record<string, string | undefined>> = {
  ema: "the moving average",
  calibrated: "the calibrated one",
  "calibrated-per-latent": "a calibrated one for each latent",
};

/** Which of the thresholds it could have had a saved SAE has, and L0 with each. */
function choices(facts: ReportFacts): Markup | null {
  const rows = facts.layers.flatMap(({ layer, calibration }) =>
    calibration === null
      ? []
      : (["average", "calibrated"] as const).map((kind) => [
          `${layer}, ${kind === "average" ? "moving average" : "calibrated to L0 = k"}`,
          short(calibration[kind].threshold),
          fixed(calibration[kind].l0, 2),
          count(calibration.nTokens),
          CHOSEN[calibration.chosen] ?? calibration.chosen,
        ]),
  );
  if (rows.length === 0) return null;
  return table({
    caption: "L0 with the thresholds that each SAE could have had, on held-out tokens",
    columns: ["layer, threshold", "value", "L0", "held-out tokens", "the SAE has"],
    texts: [4],
    rows,
  });
}

export function definitionsSection(facts: ReportFacts): Section {
  return {
    id: "definitions",
    title: "What the numbers mean",
    body: html`<dl>${[...definitionsOf(facts)].map(
      ([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>
`,
    )}</dl>
`,
  };
}

/** Every definition that the results carry, and those of the training log. */
export function definitionsOf(facts: ReportFacts): Map<string, string> {
  const found = new Map<string, string>();
  const add = (name: string, text: string | undefined) => {
    if (text !== undefined && !found.has(name)) found.set(name, text);
  };
  const results = facts.layers.flatMap(({ measurements }) => measurements.map(({ result }) => result));
  for (const { metrics, latents, outliers, slices, threshold, intervals } of results) {
    for (const [name, { definition, unit }] of Object.entries(metrics))
      add(name, unit === "1" ? definition : `${definition} Unit: ${unit}.`);
    add("never fired", latents.definition);
    add("firing frequency", latents.frequencyHistogram.definition);
    add("error concentration", outliers?.definition);
    for (const group of slices) add(`slices by ${group.by}`, group.definition);
    add("threshold", threshold?.definition);
    if (intervals !== null && intervals.replicates > 0)
      add(
        "confidence intervals",
        `${intervals.definition} Level ${intervals.level}, ${count(intervals.replicates)} replicates, seed ${intervals.seed}.`,
      );
  }
  for (const { result } of facts.splices)
    for (const [name, { definition, unit }] of Object.entries(result.metrics))
      add(name, unit === "1" ? definition : `${definition} Unit: ${unit}.`);
  if (facts.layers.some(({ trainings }) => trainings.length > 0)) {
    add(
      "training: loss",
      "Sum of the mean squared errors of all widths, and of the auxiliary loss where there is one, over one batch, before its update.",
    );
    add("training: VE", "1 − mean‖x−x̂‖² / mean‖x−x̄‖² over one batch, x̄ the batch’s mean.");
    add(
      "training: held-out VE",
      "1 − Σ‖x−x̂‖² / Σ‖x−x̄‖² over the guard’s held-out rows, with the selection that training uses, not the thresholds.",
    );
    add("training: dead", "Latents that have not fired for more tokens than the recipe’s deadAfterTokens.");
  }
  return found;
}

export function provenanceSection(facts: ReportFacts): Section {
  const { recipe, files, software, machine, seeds } = facts.provenance;
  const results = facts.layers.flatMap(({ layer, measurements }) =>
    measurements.map(({ phase, set, result }) => [
      `${layer}, ${set}, ${PHASES[phase]}`,
      count(result.nTokens),
      result.nDocuments > 0 ? count(result.nDocuments) : "–",
      hash(result.sae.hash),
      result.store === null ? "–" : hash(result.store.hash),
    ]),
  );
  return {
    id: "provenance",
    title: "Where this comes from",
    body: [
      html`<dl class="facts">${pair("run", facts.run)}${pair("model", facts.model)}${facts.baseModel === null ? null : pair("model the source SAE was made for", facts.baseModel)}${pair("source SAE", facts.source ?? "none: trained from scratch")}${facts.layers.map(({ layer, hookName }) => pair(`hook point of layer ${layer}`, hookName))}${facts.sets.map(({ name, sources }) => pair(`held-out set ${name}`, sources.join(", ")))}${seeds.map(({ what, seed }) => pair(`seed: ${what}`, String(seed)))}${Object.entries(software).map(([name, version]) => pair(name, version))}${Object.entries(machine).map(([name, value]) => pair(name, value))}</dl>
`,
      html`<details><summary>What was measured, with hashes</summary>${table({
        caption: "Results with the hashes of their SAE and their activations",
        columns: ["layer, set, phase", "tokens", "documents", "SAE (sha-256)", "activations (sha-256)"],
        texts: [3, 4],
        rows: results,
      })}${table({
        caption: "Files of the run with their hashes",
        columns: ["file", "sha-256"],
        texts: [1],
        rows: files.map(({ what, sha256 }) => [what, hash(sha256)]),
      })}</details>
`,
      html`<details><summary>The recipe, every default written out</summary><pre tabindex="0">${recipe}</pre></details>
`,
    ],
  };
}

function pair(name: string, value: string): Markup {
  return html`<dt>${name}</dt><dd>${value}</dd>
`;
}

/** Whole, but breakable on a narrow screen. */
function hash(hex: string): Markup {
  return html`<code>${hex}</code>`;
}
