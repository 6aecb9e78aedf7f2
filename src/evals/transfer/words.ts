/** A verdict on transfer in sentences: what is, why, what to do. */
import { type Case, type Cause, isBought, usualL0 } from "./case.ts";
import type { FixScore } from "./fixes.ts";
import { limit } from "./limits.ts";
import type { TransferDiagnosis } from "./transfer.ts";

/** Two to four of them. */
export function linesOf(known: Case, cause: Cause): string[] {
  return [
    headline(known, cause),
    because(known, cause),
    advice(known, cause),
    threshold(known.diagnosis),
  ].filter((line) => line !== null);
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

const UNTOLD =
  "The distribution is another, or the SAE was never better on such texts: the base model would tell (--base).";

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
      return `Neither a uniform shift nor outliers: re-centring recovers ${recovered(byRecentring, fixes.recentred)} of the loss, rescaling ${recovered(byRescaling, fixes.rescaled)}, both ${recovered(byBoth, fixes.both)}${notOutliers}. ${diagnosis.home === null ? UNTOLD : "The distribution itself is another."}`;
    }
  }
}

function advice({ diagnosis }: Case, cause: Cause): string {
  switch (cause) {
    case "none":
      return "Use it as it is.";
    case "unfit at home":
      return "Look whether hook point and texts are those the SAE was made for, before adapting it.";
    case "flattered":
    case "outliers":
      return "Look at the worst tokens before anything else; training on them would follow them.";
    case "changed distribution":
      return `Adapt it (lapidary run). ${toBeat(diagnosis)}`;
    default:
      return `A closed-form fix does most of it. ${toBeat(diagnosis)}`;
  }
}

/** The best that closed form does, on the half of the tokens that it was not fitted on. */
function toBeat(diagnosis: TransferDiagnosis): string {
  const { fixes } = diagnosis;
  if (fixes === null) return "";
  const best = [
    { name: "re-centred", score: fixes.recentred },
    { name: "rescaled", score: fixes.rescaled },
    { name: "re-centred and rescaled", score: fixes.both },
  ]
    .filter(({ score }) => score.ve !== null && !isBought(diagnosis, score))
    .reduce((a, b) => ((b.score.ve ?? 0) > (a.score.ve ?? 0) ? b : a), {
      name: "as it is, which no closed-form fix betters",
      score: fixes.none,
    });
  return `Adapting has to beat VE ${three(best.score.ve)} at L0 ${best.score.l0.toFixed(1)}: ${best.name}.`;
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

/** "23 %", or why it does not count. */
function recovered(share: number | null, { l0 }: FixScore): string {
  return share === null ? `nothing that counts (L0 ${l0.toFixed(0)})` : percent(share);
}

function three(value: number | null | undefined): string {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(3) : "undefined";
}

function percent(share: number | null | undefined): string {
  return typeof share === "number" ? `${Math.round(100 * share)} %`.replace("-", "−") : "an unknown share";
}
