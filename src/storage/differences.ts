/** Where two JSON values differ, for errors that say what changed. */

/** One entry a leaf: path, and both values in brief (`absent` where there is none), keys in alphabetical order. */
export interface Difference {
  readonly path: string;
  readonly before: string;
  readonly now: string;
}

/** Compares what JSON would make of both values. */
export function jsonDifferences(before: unknown, now: unknown): Difference[] {
  return differences(asJson(before), asJson(now), "");
}

/** "tokens 20000 → 30000; and 2 more": at most `shown` differences in one line. */
export function describeDifferences(found: readonly Difference[], shown = 4): string {
  const lines = found.slice(0, shown).map(({ path, before, now }) => `${path} ${before} → ${now}`);
  return lines.join("; ") + (found.length > shown ? `; and ${found.length - shown} more` : "");
}

function differences(before: unknown, now: unknown, path: string): Difference[] {
  if (isRecord(before) && isRecord(now)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
    return keys.flatMap((key) => differences(before[key], now[key], path === "" ? key : `${path}.${key}`));
  }
  return JSON.stringify(before) === JSON.stringify(now)
    ? []
    : [{ path, before: brief(before), now: brief(now) }];
}

function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
