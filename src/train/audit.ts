/**
 * The audit of a statistical margin: every so many steps the dense answer is computed for a few seeded tokens of the batch
 * and compared with what the screen found. Misses are counted over the whole run; past a limit the rest of the run
 * screens rigorously. What the audit has counted is part of every checkpoint, so a resumed run decides alike.
 */
import type { AuditResult, Screening } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { StatisticalScreening } from "./config.ts";
import type { RunEvent } from "./log.ts";
import type { AuditState, Incident } from "./progress.ts";

export const NO_AUDITS: AuditState = { margin: "statistical", entries: 0, missed: 0 };

/** How the next step looks for entries. */
export function screeningOf(
  config: StatisticalScreening | undefined,
  state: AuditState | undefined,
): Screening {
  return config === undefined || state?.margin === "rigorous"
    ? { margin: "rigorous" }
    : { margin: "statistical", sigmas: config.sigmas };
}

/** Tokens to audit in step `step` (0-based), ascending, drawn by (seed, step); null: none in this step. */
export function tokensToAudit(
  config: StatisticalScreening,
  { seed, step, nTokens }: { seed: number; step: number; nTokens: number },
): Uint32Array | null {
  if (step % config.auditEverySteps !== 0) return null;
  const order = new Philox(seed, `screening/audit/${step}`).permutation(nTokens);
  return order.slice(0, config.auditTokens).sort();
}

/** Takes in an audit of the step just done; past the limit the margin becomes rigorous, which is an incident. */
export function afterAudit(
  before: AuditState,
  result: AuditResult,
  config: StatisticalScreening,
  step: number,
): { audit: AuditState; event: RunEvent | null; incident: Incident | null } {
  const entries = before.entries + result.entries;
  const missed = before.missed + result.missed;
  const isPast = missed > config.maxMissedShare * entries;
  const audit: AuditState = { entries, missed, margin: isPast ? "rigorous" : before.margin };
  return {
    audit,
    event:
      result.missed === 0 ? null : { event: "audit-missed", step, ...result, together: { entries, missed } },
    incident: audit.margin === "rigorous" ? auditIncident(audit, config, step) : null,
  };
}

/** The record of the end of statistical screening, `step` steps done. */
function auditIncident(
  { entries, missed }: AuditState,
  config: StatisticalScreening,
  step: number,
): Incident {
  return {
    kind: "screening-missed",
    step,
    what: `the screen with a margin of ${config.sigmas} σ missed ${missed} of ${entries} audited entries, at most a share of ${config.maxMissedShare} is allowed; the rest of the run screens rigorously`,
    details: { entries, missed, ...config },
  };
}
