/**
 * A verdict on transfer in words: does the SAE fit, is it a uniform shift, outliers or a changed distribution, and what
 * to do. By fixed rules with the limits of `diagnosis-limits.ts`, first match wins; each verdict names its numbers.
 */
import { limit, type TransferLimit } from "./diagnosis-limits.ts";
import type { TransferDiagnosis } from "./transfer.ts";
import type { FixScore } from "./transfer-fixes.ts";

export type Cause =
  /** it fits */
  | "none"
  /** VE looks good only because of a few tokens of huge norm */
  | "flattered"
  /** the SAE fits these texts on no model */
  | "unfit at home"
  /** a few tokens carry the loss */
  | "outliers"
  | "mean shift"
  | "scale"
  | "mean shift and scale"
  /** none of these */
  | "changed distribution";

export type Action =
  | "fine as it is"
  | "look at outliers"
  | "check SAE and texts"
  | "re-centre"
  | "rescale"
  | "re-centre and rescale"
  | "adapt";

/** A number that a verdict rests on; `limit`: what it was held against. */
export interface Evidence {
  readonly what: string;
  readonly value: number | null;
  readonly limit: TransferLimit | null;
}

export interface Verdict {
  readonly cause: Cause;
  readonly action: Action;
  /** two to four, for people: what is, why, what to do */
  readonly lines: readonly string[];
  readonly evidence: readonly Evidence[];
}

/** What the verdict's rules look at, derived from the diagnosis. */
interface Case {
  readonly diagnosis: TransferDiagnosis;
  readonly ve: number;
  /** VE at home, or the limit where that is not known */
  readonly target: number;
  readonly lost: number;
  /** shares of `lost` recovered; null: not known, or bought with more latents */
  readonly byOutliers: number | null;
  readonly byRecentring: number | null;
  readonly byRescaling: number | null;
  readonly byBoth: number | null;
}

/** The verdict on a diagnosis: pure, the same numbers give the same words. */
export function verdict(diagnosis: TransferDiagnosis): Verdict {
  const known = caseOf(diagnosis);
  const cause = causeOf(known);
  return {
    cause,
    action: ACTIONS[cause],
    lines: [headline(known, cause), because(known, cause), advice(known, cause), threshold(diagnosis)].filter(
      (line) => line !== null,
    ),
    evidence: evidenceOf(known),
  };
}

const ACTIONS: Record<Cause, Action> = {
  none: "fine as it is",
  flattered: "look at outliers",
  "unfit at home": "check SAE and texts",
  outliers: "look at outliers",
  "mean shift": "re-centre",
  scale: "rescale",
  "mean shift and scale": "re-centre and rescale",
  "changed distribution": "adapt",
};

function caseOf(diagnosis: TransferDiagnosis): Case {
  const { home, fixes, outliers } = diagnosis;
  const ve = diagnosis.ve ?? 0;
  const target = home?.ve ?? limit("goodVe");
  const lost = target - ve;
  const share = (after: number | null | undefined, before: number | null | undefined) =>
    lost <= 0 || typeof after !== "number" || typeof before !== "number" ? null : (after - before) / lost;
  const byFix = (name: "recentred" | "rescaled" | "both") =>
    fixes === null || isBought(diagnosis, fixes[name]) ? null : share(fixes[name].ve, fixes.none.ve);
  return {
    diagnosis,
    ve,
    target,
    lost,
    byOutliers: share(outliers?.veWithout, diagnosis.ve),
    byRecentring: byFix("recentred"),
    byRescaling: byFix("rescaled"),
    byBoth: byFix("both"),
  };
}

/** L0 at home, else k: what the SAE is used to. Null: not known. */
function usualL0({ home, threshold }: TransferDiagnosis): number | null {
  return home?.l0 ?? threshold?.k ?? null;
}

function isBought(diagnosis: TransferDiagnosis, { l0 }: FixScore): boolean {
  return l0 > (1 + limit("boughtL0")) * (usualL0(diagnosis) ?? diagnosis.l0);
}

function causeOf({ diagnosis, lost, byOutliers, byRecentring, byRescaling, byBoth }: Case): Cause {
  const { home, outliers } = diagnosis;
  const fits = lost <= (home === null ? 0 : limit("fineLoss"));
  const isUnfitAtHome = home !== null && (home.ve ?? 0) < limit("workingVe");
  const withoutWorst = outliers?.veWithout ?? null;
  if (isUnfitAtHome) return (withoutWorst ?? 0) >= limit("goodVe") ? "outliers" : "unfit at home";
  if (fits) return flattery(diagnosis) >= limit("flattery") ? "flattered" : "none";
  const enough = limit("recovers");
  if ((byOutliers ?? 0) >= enough) return "outliers";
  const better = Math.max(byRecentring ?? 0, byRescaling ?? 0);
  if ((byBoth ?? 0) >= enough && (byBoth ?? 0) > better + limit("bothAddTo")) return "mean shift and scale";
  if (better >= enough) return better === byRecentring ? "mean shift" : "scale";
  return "changed distribution";
}

/** VE − VE without the tokens of largest norm. */
function flattery({ ve, outliers }: TransferDiagnosis): number {
  return outliers?.veWithoutByNorm == null ? 0 : (ve ?? 0) - outliers.veWithoutByNorm;
}

function headline({ diagnosis, ve, target, lost }: Case, cause: Cause): string {
  const compared =
    diagnosis.home === null
      ? `VE ${three(ve)} (good is ${target} or more; no base model to compare with)`
      : `VE ${three(ve)}, ${three(target)} on the base model (${lost > 0 ? `${three(lost)} lost` : "nothing lost"})`;
  switch (cause) {
    case "none":
      return `It fits: ${compared}.`;
    case "flattered":
      return `It seems to fit, but VE rests on a few huge tokens: ${compared}.`;
    case "unfit at home":
      return `It fits these texts on no model: ${compared}.`;
    default:
      return `It does not fit as it is: ${compared}.`;
  }
}

function because(
  { diagnosis, byOutliers, byRecentring, byRescaling, byBoth }: Case,
  cause: Cause,
): string | null {
  const { outliers, fixes } = diagnosis;
  const worst =
    outliers === null
      ? ""
      : `the worst 0.1 % of tokens (${outliers.nTokens}) carry ${percent(outliers.sseShare)} of the squared error`;
  switch (cause) {
    case "none":
      return `Mean and scale are ${place(diagnosis)}${worst === "" ? "" : `; ${worst}`}.`;
    case "unfit at home":
      return null;
    case "flattered":
      return `Without the 0.1 % of largest norm VE is ${three(outliers?.veWithoutByNorm)}: believe that one.`;
    case "outliers":
      return `Outliers: ${worst}; without them VE is ${three(outliers?.veWithout)}${byOutliers === null ? "" : ` (${percent(byOutliers)} of the loss)`}.`;
    case "mean shift":
      return `The mean has moved, ${place(diagnosis)}: re-centring recovers ${percent(byRecentring)} of the loss (VE ${three(fixes?.recentred.ve)}).`;
    case "scale":
      return `The scale is another, ${place(diagnosis)}: rescaling by ${fixes?.scale.toFixed(2)} recovers ${percent(byRescaling)} of the loss (VE ${three(fixes?.rescaled.ve)}).`;
    case "mean shift and scale":
      return `Mean and scale have moved, ${place(diagnosis)}: undoing both recovers ${percent(byBoth)} of the loss (VE ${three(fixes?.both.ve)}).`;
    case "changed distribution": {
      const notOutliers =
        byOutliers === null ? "" : `; leaving out the worst 0.1 % of tokens ${percent(byOutliers)}`;
      if (fixes === null)
        return `Mean and scale are ${place(diagnosis)}; too few windows to try re-centring and rescaling${notOutliers}.`;
      return `Neither a uniform shift nor outliers: re-centring recovers ${recovered(byRecentring, fixes.recentred)} of the loss, rescaling ${recovered(byRescaling, fixes.rescaled)}, both ${recovered(byBoth, fixes.both)}${notOutliers}. The distribution itself is another.`;
    }
  }
}

function advice({ diagnosis }: Case, cause: Cause): string | null {
  const { fixes } = diagnosis;
  const best = fixes === null ? null : bestOf(fixes);
  switch (cause) {
    case "none":
      return "Use it as it is.";
    case "unfit at home":
      return "Look whether hook point and texts are those the SAE was made for, before adapting it.";
    case "flattered":
    case "outliers":
      return "Look at the worst tokens before anything else; training on them would follow them.";
    case "changed distribution":
      return `Adapt it (lapidary run).${best === null ? "" : ` To beat: VE ${three(best.ve)} at L0 ${best.l0.toFixed(1)}, ${best.name}.`}`;
    default:
      return `A closed-form fix does most of it; adapting (lapidary run) has to beat VE ${three(best?.ve)}.`;
  }
}

/** "23 %", or why it does not count. */
function recovered(share: number | null, { l0 }: FixScore): string {
  return share === null ? `nothing that counts (L0 ${l0.toFixed(0)})` : percent(share);
}

/** The best score without training. */
function bestOf({ none, recentred, rescaled, both }: NonNullable<TransferDiagnosis["fixes"]>) {
  return [
    { name: "as it is", score: none },
    { name: "re-centred", score: recentred },
    { name: "rescaled", score: rescaled },
    { name: "re-centred and rescaled", score: both },
  ]
    .map(({ name, score }) => ({ name, ve: score.ve ?? Number.NEGATIVE_INFINITY, l0: score.l0 }))
    .reduce((best, each) => (each.ve > best.ve ? each : best));
}

/** Only where L0 is another than at home, or than k: a threshold in the wrong place. */
function threshold(diagnosis: TransferDiagnosis): string | null {
  const { l0, threshold } = diagnosis;
  const usual = usualL0(diagnosis);
  if (usual === null || Math.abs(l0 - usual) <= limit("l0Change") * usual) return null;
  const cut =
    threshold?.thresholdToCut == null
      ? ""
      : `; the threshold is ${threshold.thresholdToCut.toFixed(2)} times the cut at which L0 would be k = ${threshold.k}`;
  return `L0 is ${l0.toFixed(1)} instead of ${usual.toFixed(1)}${cut}.`;
}

function place({ meanShift, scaleRatio, expected }: TransferDiagnosis): string {
  const shift = `${meanShift === null ? "undefined" : meanShift.toFixed(2)} spreads from ${expected === "base" ? "the base model's mean" : "bDec"}`;
  return scaleRatio === null ? shift : `${shift}, scale ×${scaleRatio.toFixed(2)}`;
}

function evidenceOf({ diagnosis, target, lost, ...recovered }: Case): Evidence[] {
  const { ve, home, meanShift, scaleRatio, outliers, l0 } = diagnosis;
  return [
    { what: "VE", value: ve, limit: home === null ? "goodVe" : null },
    { what: "VE on the base model", value: home?.ve ?? null, limit: "workingVe" },
    { what: "VE lost", value: lost, limit: home === null ? null : "fineLoss" },
    { what: "target VE", value: target, limit: null },
    {
      what: "share of the loss recovered without the worst 0.1 % of tokens",
      value: recovered.byOutliers,
      limit: "recovers",
    },
    { what: "share of the loss recovered by re-centring", value: recovered.byRecentring, limit: "recovers" },
    { what: "share of the loss recovered by rescaling", value: recovered.byRescaling, limit: "recovers" },
    { what: "share of the loss recovered by both", value: recovered.byBoth, limit: "recovers" },
    {
      what: "VE − VE without the 0.1 % of largest norm",
      value: outliers === null ? null : flattery(diagnosis),
      limit: "flattery",
    },
    { what: "mean shift", value: meanShift, limit: null },
    { what: "scale ratio", value: scaleRatio, limit: null },
    { what: "L0", value: l0, limit: "l0Change" },
  ];
}

function three(value: number | null | undefined): string {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(3) : "undefined";
}

function percent(share: number | null | undefined): string {
  return typeof share === "number" ? `${Math.round(100 * share)} %` : "an unknown share";
}
