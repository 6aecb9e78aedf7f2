/** The rules of a verdict on transfer: what they look at, and which cause they name. First match wins. */
import type { FixScore } from "./fixes.ts";
import { limit } from "./limits.ts";
import type { TransferDiagnosis } from "./transfer.ts";

/** Why an SAE does not fit, or that it does. */
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

/** What the verdict's rules look at, derived from the diagnosis. */
export interface Case {
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

/** What a diagnosis comes to: VE lost, and how much of it each remedy recovers. */
export function caseOf(diagnosis: TransferDiagnosis): Case {
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
export function usualL0({ home, threshold }: TransferDiagnosis): number | null {
  return home?.l0 ?? threshold?.k ?? null;
}

/** VE that comes with more latents than the SAE is used to is no repair. */
export function isBought(diagnosis: TransferDiagnosis, { l0 }: FixScore): boolean {
  return l0 > (1 + limit("boughtL0")) * (usualL0(diagnosis) ?? diagnosis.l0);
}

/** The first of the rules that matches: unfit at home, fits, outliers, moved mean or scale, else another distribution. */
export function causeOf({ diagnosis, lost, byOutliers, byRecentring, byRescaling, byBoth }: Case): Cause {
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
export function flattery({ ve, outliers }: TransferDiagnosis): number {
  return outliers?.veWithoutByNorm == null ? 0 : (ve ?? 0) - outliers.veWithoutByNorm;
}
