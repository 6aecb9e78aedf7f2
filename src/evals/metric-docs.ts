/** docs/METRICS.md: what every number of a result means, written from the registries that compute them. */
import { intervalMethod } from "./bootstrap.ts";
import { FREQUENCIES_DEFINITION, L0_DEFINITION, LATENTS_DEFINITION } from "./firing.ts";
import { METRICS } from "./metrics.ts";
import { SAELENS_METRICS } from "./other-programs/saelens.ts";
import { OUTLIERS_DEFINITION } from "./outliers.ts";
import { sliceDefinitions } from "./slices.ts";
import { SAELENS_SPLICE_METRICS, SPLICE_METRICS } from "./splice/metrics.ts";

/** The text of docs/METRICS.md. */
export function metricDocs(): string {
  return `# Metrics

<!-- written by scripts/write-metric-docs.mjs from the registries in src/evals; do not edit -->

What each number in a result file means. Result files carry the definitions too, beside the values.

x is the activation of a token, x̂ its reconstruction, x̄ the mean of x over the evaluated tokens, aᵢ the activation of
latent i, n the number of tokens; ‖·‖ is the Euclidean norm. Sums go over all evaluated tokens, pooled, in double
precision. Every metric is a function of sums over tokens, so slices, documents, the tokens that remain without outliers and
bootstrap replicates are computed by the same code as the whole, and neither batch size nor order matters.

## Of an evaluation

${table(
  ["name", "unit", "formula", "definition"],
  Object.entries(METRICS).map(([name, { unit, formula, definition }]) => [
    `\`${name}\``,
    unit,
    formula,
    definition,
  ]),
)}

What they say of simple predictors: x̂ = x̄ has VE 0; x̂ = x has VE 1, cosine 1, L2 ratio 1, bias 1, MSE 0. \`ve\` weighs
tokens by their error, so a few large ones can decide it; \`vePerToken\` weighs tokens alike, and is moved by those near
the mean. Where they differ much, look at the outliers.

## Confidence intervals

${intervalMethod(0).definition} The seed, the number of replicates and the level stand in each result. Two SAEs are compared
on the same drawn documents: the interval is that of the difference.

## Latents

${LATENTS_DEFINITION}

\`frequencyHistogram\`: ${FREQUENCIES_DEFINITION}

\`l0\`: ${L0_DEFINITION}

## Outliers

${OUTLIERS_DEFINITION}

## Slices

${table(
  ["by", "definition"],
  sliceDefinitions().map(({ by, definition }) => [`\`${by}\``, definition]),
)}

## Splicing

${table(
  ["name", "unit", "definition"],
  Object.entries(SPLICE_METRICS).map(([name, { unit, definition }]) => [`\`${name}\``, unit, definition]),
)}

## As other programs define them

To compare with published numbers, not to judge by. SAEBench 0.6.0 computes \`explained_variance\`,
\`explained_variance_legacy\` and \`mse\` as SAELens 6.18 does; they are called \`saebench060.…\` there.

${table(
  ["name", "unit", "definition"],
  [
    ...Object.entries(SAELENS_METRICS).map(([name, { unit, definition }]) => [
      `\`saelens618.${name}\``,
      unit,
      definition,
    ]),
    ...Object.entries(SAELENS_SPLICE_METRICS).map(([name, { unit, definition }]) => [
      `\`${name}\``,
      unit,
      definition,
    ]),
  ],
)}
`;
}

function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heading), `|${heading.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}
