/**
 * Writes docs/METRICS.md, what every number of a result means, from the registries in src/evals. A test fails while the
 * file is stale.
 *
 *   npm run metrics
 */
import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { register } from "tsx/esm/api";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
register();
const { metricDocs } = await import("../src/evals/metric-docs.ts");
const path = join(root, "docs/METRICS.md");
writeFileSync(path, metricDocs());
console.log(path);
