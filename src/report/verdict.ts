/**
 * The words at the top of a report, from numbers, by rules whose limits are shown on the page; they are those of the
 * transfer diagnosis (`evals/transfer/limits.ts`). An SAE fits where, on every held-out set, its VE reaches the recipe's
 * gate and is no worse than that of the source SAE at home.
 */
import { limit } from "../evals/transfer/limits.ts";
import { type LayerFacts, measured, type Phase, type ReportedResult, type ReportFacts } from "./facts.ts";
import { fixed, listOf, percent, roundPercent } from "./numbers.ts";

/** Share of tokens that is looked at as outliers. */
export const OUTLIER_SHARE = 0.001;
/** Reconstructions shorter than this share of the activations, on average, are called too short. */
const TOO_SHORT = 0.95;

export type Verdict = "fits" | "borderline" | "fails";

/** A result, with that of the source SAE at home on the same set, if that was measured. */
export interface Case {
  readonly result: ReportedResult;
  readonly home: ReportedResult | undefined;
}

/** One SAE of one layer on one set, judged. */
export interface Judgement extends Case {
  readonly verdict: Verdict;
  readonly set: string;
  readonly ve: number;
  /** least VE that fits */
  readonly required: number;
}

/** The least VE that fits: the gate, and home less what may be lost; where there is neither, a limit of its own. */
export function requiredVe(gate: number | null, home: ReportedResult | undefined): number {
  const limits = [
    ...(gate === null ? [] : [gate]),
    ...(home === undefined ? [] : [home.metrics.ve.value - limit("fineLoss")]),
  ];
  return limits.length === 0 ? limit("goodVe") : Math.max(...limits);
}

/** Judges one result. Borderline: what is required lies within the confidence interval. */
export function judge({ result, home }: Case, gate: number | null): Judgement {
  const { value: ve, interval } = result.metrics.ve;
  const required = requiredVe(gate, home);
  const onTheLine = interval !== null && interval.low < required && required <= interval.high;
  return {
    verdict: onTheLine ? "borderline" : ve >= required ? "fits" : "fails",
    set: result.set,
    ve,
    required,
    result,
    home,
  };
}

/** The judged sets of a layer, the worst first; empty where nothing was measured. */
export function judgeLayer(layer: LayerFacts, phase: Phase, gate: number | null): Judgement[] {
  const order: readonly Verdict[] = ["fails", "borderline", "fits"];
  return layer.measurements
    .filter((entry) => entry.phase === phase && !entry.isDomain)
    .map(({ set, result }) => judge({ result, home: measured(layer, "home", set) }, gate))
    .sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict) || a.ve - b.ve);
}

/** The title sentence of the page. */
export function headline(facts: ReportFacts): string {
  const after = fitPhrase(facts, "after");
  const before = facts.source === null ? null : fitPhrase(facts, "before");
  if (before === null)
    return after === null
      ? "Nothing has been measured yet."
      : `The ${facts.source === null ? "trained" : "adapted"} SAE ${after} ${facts.model}.`;
  const first = `The source SAE ${before} ${facts.model}.`;
  if (after === null) return `${first} It has not been adapted yet.`;
  if (after === "fits")
    return `${first} ${before === "fits" ? "So does the adapted one." : "The adapted one does."}`;
  if (after === "does not fit" && before === after) return `${first} Neither does the adapted one.`;
  return `${first} The adapted one ${after} it.`;
}

/** "fits", "does not fit", "fits at layer 2 and does not fit at layer 4 of"; null where nothing was measured. */
function fitPhrase(facts: ReportFacts, phase: Phase): string | null {
  const judged = facts.layers.flatMap((layer) => {
    const [worst] = judgeLayer(layer, phase, facts.gate);
    return worst === undefined ? [] : [{ layer: layer.layer, verdict: worst.verdict }];
  });
  if (judged.length === 0) return null;
  const parts = (["fits", "borderline", "fails"] as const).flatMap((verdict) => {
    const layers = judged.filter((one) => one.verdict === verdict).map(({ layer }) => layer);
    return layers.length === 0 ? [] : [{ phrase: PHRASES[verdict], layers }];
  });
  if (parts.length === 1) return parts[0].phrase;
  const named = parts.map(
    ({ phrase, layers }) => `${phrase} at layer${layers.length > 1 ? "s" : ""} ${listOf(layers)}`,
  );
  return `${listOf(named)} of`;
}

const PHRASES: Readonly<Record<Verdict, string>> = {
  fits: "fits",
  borderline: "only just fits",
  fails: "does not fit",
};

/** "0.683 to 0.797": VE of a phase over all layers and judged sets; null where nothing was measured. */
export function veRange(facts: ReportFacts, phase: Phase): string | null {
  const values = facts.layers.flatMap((layer) =>
    layer.measurements
      .filter((entry) => entry.phase === phase && !entry.isDomain)
      .map(({ result }) => result.metrics.ve.value),
  );
  if (values.length === 0) return null;
  const [low, high] = [fixed(Math.min(...values), 3), fixed(Math.max(...values), 3)];
  return low === high ? low : `${low} to ${high}`;
}

/** Why a result is what it is: sentences, each from one rule; short where the SAE fits. */
export function reasons(judged: Judgement): string[] {
  const { verdict, result, home, ve, required } = judged;
  const atHome = home === undefined ? "" : `, at home ${fixed(home.metrics.ve.value, 3)}`;
  const said = [
    `VE is ${fixed(ve, 3)}${atHome}; at least ${fixed(required, 3)} is asked for.`,
    ...flattery(result),
  ];
  if (verdict === "fits") return said;
  return [
    ...said,
    ...outlierReason(judged),
    ...(home === undefined ? [] : activityReason(result, home)),
    ...shortness(result),
  ];
}

/** VE that rests on a few tokens of huge norm says little of the others. */
function flattery(result: ReportedResult): string[] {
  const worst = outliersOf(result);
  const without = worst?.veWithoutByNorm ?? null;
  return without !== null && result.metrics.ve.value - without >= limit("flattery")
    ? [
        `It rests on outliers: without the ${roundPercent(OUTLIER_SHARE)} of tokens of largest norm VE is ${fixed(without, 3)}.`,
      ]
    : [];
}

function outlierReason({ result, home, ve, required }: Judgement): string[] {
  const worst = outliersOf(result);
  if (worst === undefined || worst.veWithout === null) return [];
  const carried = `the worst ${roundPercent(worst.share)} of tokens carry ${percent(worst.sseShare)} of it`;
  const needed = limit("recovers") * ((home?.metrics.ve.value ?? required) - ve);
  if (worst.veWithout - ve < needed)
    return [
      `The error is spread over the tokens, not in a few outliers: ${carried}, and without them VE would be ${fixed(worst.veWithout, 3)}.`,
    ];
  const byNorm = worst.veWithoutByNorm;
  const isSeen = byNorm !== null && byNorm - ve >= needed;
  return [
    `Outliers make the error: ${carried}. Without them VE would be ${fixed(worst.veWithout, 3)}; a screen by norm would ${isSeen ? "" : "not "}find them (${fixed(byNorm, 3)} without as many of largest norm).`,
  ];
}

function outliersOf({ outliers }: ReportedResult) {
  return outliers?.shares.find(({ share }) => share === OUTLIER_SHARE);
}

function activityReason(result: ReportedResult, home: ReportedResult): string[] {
  const [l0, atHome] = [result.metrics.l0.value, home.metrics.l0.value];
  const change = l0 / atHome - 1;
  if (!(Math.abs(change) >= limit("l0Change"))) return [];
  return [
    `${change < 0 ? "Fewer" : "More"} latents pass their thresholds: ${fixed(l0, 1)} a token, ${fixed(atHome, 1)} at home.`,
  ];
}

function shortness({ metrics: { l2Ratio } }: ReportedResult): string[] {
  return l2Ratio.value !== null && l2Ratio.value < TOO_SHORT
    ? [`Reconstructions are too short: ${percent(l2Ratio.value)} of the activations’ length on average.`]
    : [];
}

/** The rules as sentences. */
export function ruleSentences({ gate }: Pick<ReportFacts, "gate">): string[] {
  const share = roundPercent(OUTLIER_SHARE);
  return [
    `fits: on every held-out set VE is at least ${gate === null ? "" : `the recipe’s gate, ${gate}, and at least `}that of the source SAE on its own model, less ${limit("fineLoss")}${gate === null ? `; where that was not measured, at least ${limit("goodVe")}` : ""}; sets of other kinds of text (domains) are shown, not judged`,
    "only just fits: the VE required lies within the confidence interval",
    `outliers make the error: without the worst ${share} of tokens at least ${roundPercent(limit("recovers"))} of the lost VE is back; a screen by norm finds them if leaving out as many tokens of largest norm does the same`,
    `VE rests on outliers: without the ${share} of tokens of largest norm it is lower by ${limit("flattery")} or more`,
    `fewer or more latents: L0 differs from home by ${roundPercent(limit("l0Change"))} or more`,
    `reconstructions are too short: ‖x̂‖/‖x‖ is below ${TOO_SHORT} on average`,
  ];
}
