/**
 * A verdict on transfer in words: does the SAE fit, is it a uniform shift, outliers or a changed distribution, and what
 * to do. By fixed rules with the limits of `limits.ts`; each verdict names its numbers.
 */
import { type Case, type Cause, caseOf, causeOf, flattery } from "./case.ts";
import type { TransferLimit } from "./limits.ts";
import type { TransferDiagnosis } from "./transfer.ts";
import { linesOf } from "./words.ts";

export type { Cause } from "./case.ts";

/** What to do. */
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

/** What the numbers of a diagnosis mean. */
export interface Verdict {
  readonly cause: Cause;
  readonly action: Action;
  /** two to four, for people: what is, why, what to do */
  readonly lines: readonly string[];
  readonly evidence: readonly Evidence[];
}

/** The verdict on a diagnosis: pure, the same numbers give the same words. */
export function verdict(diagnosis: TransferDiagnosis): Verdict {
  const known = caseOf(diagnosis);
  const cause = causeOf(known);
  return { cause, action: ACTIONS[cause], lines: linesOf(known, cause), evidence: evidenceOf(known) };
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
