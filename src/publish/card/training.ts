/** How the SAEs were trained: from the recipe with every default filled in, the logs, and what went wrong. */
import type { ResamplingNote } from "../../train/progress.ts";
import type { CardFacts, CardLayer } from "./facts.ts";
import { code, joined, number, packingText, percent, plural, table, thousands } from "./text.ts";

const OBJECTIVES: Readonly<Record<string, string>> = {
  matryoshka_batchtopk: "Matryoshka batch-topk",
  batchtopk: "Batch-topk",
  topk: "TopK",
};

export function training({ training: t, layers, contextSize, packing, seed, isImported }: CardFacts): string {
  const sources = t.sources.map(({ name, kind, location, nKept }) => [
    name,
    kind,
    code(location),
    nKept === null ? "not known" : thousands(nKept),
  ]);
  const perLayer = layers.map((l) => [
    String(l.layer),
    code(l.id),
    String(l.dIn),
    thousands(l.dSae),
    String(l.k ?? "–"),
    l.widths.map(thousands).join(" / "),
    thousands(l.steps),
    thousands(l.tokens),
    l.threshold?.toFixed(4) ?? "–",
  ]);
  const polish = layers.flatMap(({ layer, beforePolish }) =>
    beforePolish === null
      ? []
      : [
          `- Layer ${layer} was polished (${t.polish}). VE before the polish: ${Object.entries(beforePolish)
            .map(([set, ve]) => `${set} ${ve?.toFixed(4) ?? "undefined"}`)
            .join(", ")}.`,
        ],
  );
  const rule = layers.find(({ learntRule }) => learntRule !== undefined)?.learntRule;
  const objective = rule?.architecture ?? OBJECTIVES[layers[0].trainedAs ?? ""] ?? "Batch-topk";
  const terms =
    rule === undefined
      ? `threshold EMA ${t.thresholdLr}; auxiliary loss ${t.auxCoefficient === 0 ? "off" : t.auxCoefficient}`
      : `sparsity coefficient ${rule.sparsityCoefficient}`;
  const summary = `${objective} objective, Adam, ${t.schedule} from ${t.lr}, ${thousands(t.batchTokens)} tokens a batch, ${plural(t.epochs, "epoch")} over ${thousands(t.nKept)} kept tokens; ${terms}; resampling ${t.resampling}; seed ${seed}.`;
  return joined([
    isImported ? summary : `${summary} Context ${contextSize} tokens, ${packingText(packing)}.`,
    sources.length === 0 ? "" : table(["source", "kind", "from", "kept tokens"], sources),
    table(["layer", "folder", "d_in", "d_sae", "k", "widths", "steps", "tokens seen", "threshold"], perLayer),
    [...polish, ...courses(layers), ...thresholds(layers)].join("\n"),
  ]);
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

export function deadLatents({ layers, sets, training: t }: CardFacts): string {
  const names = sets.map(({ name }) => name);
  const rows = layers.map((l) => [
    String(l.layer),
    l.deadInTraining === null ? "not known: training was shorter" : thousands(l.deadInTraining),
    ...names.map((name) => {
      const found = l.evaluations.find(({ set }) => set === name);
      return found === undefined ? "–" : `${thousands(found.nNeverFired)} of ${thousands(l.dSae)}`;
    }),
  ]);
  return joined([
    `Two numbers that are often confused. *Dead in training*: did not fire in the last ${thousands(t.deadAfterTokens)} training tokens. *Never fired*: no activation above the threshold on a held-out set; rare latents count here without being dead.`,
    table(["layer", "dead in training", ...names.map((name) => `never fired: ${name}`)], rows),
    resamplings(layers),
  ]);
}

function resamplings(layers: readonly CardLayer[]): string {
  const lines = layers.flatMap(({ layer, courses: all }) =>
    all.flatMap((course) =>
      course.resamplings.map((note) => `- Layer ${layer}, step ${note.step}: ${resamplingText(note)}`),
    ),
  );
  return lines.length === 0 ? "" : `Resampled:\n\n${lines.join("\n")}`;
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

export function incidents({ layers, training: { isGuarded } }: CardFacts): string {
  const lines = layers.flatMap(({ layer, incidents: list, audit }) => [
    ...list.map(({ step, what }) => `- Layer ${layer}, step ${step}: ${what.replace(/\s+/g, " ")}`),
    ...(audit === null
      ? []
      : [
          `- Layer ${layer}: selections were screened with a statistical margin, which may miss some; of ${thousands(audit.entries)} audited, ${thousands(audit.missed)} were missed`,
        ]),
  ]);
  if (lines.length > 0) return lines.join("\n");
  return isGuarded
    ? "None: the guard, which looks at held-out rows while training, did not have to step in."
    : "None recorded; the guard, which looks at held-out rows while training, was off.";
}
