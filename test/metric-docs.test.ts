/** docs/METRICS.md is the one the code would write today, and says every metric. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { metricDocs } from "../src/evals/metric-docs.ts";
import { METRIC_NAMES } from "../src/evals/metrics.ts";

const written = readFileSync(new URL("../docs/METRICS.md", import.meta.url), "utf8");

it("METRICS.md is fresh: `npm run metrics` writes it", () => {
  expect(written).toBe(metricDocs());
});

it.each(METRIC_NAMES)("says %s in a row of its own", (name) => {
  expect(written.split("\n").filter((line) => line.startsWith(`| \`${name}\` |`))).toHaveLength(1);
});
