/** What language models said the latent is, and how well that predicts where it fires. */
import { fixed } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import type { Explanation } from "../../data/latent.ts";
import { Heading } from "../../parts/heading.tsx";
import type { SheetProps } from "./props.ts";

export function Explanations({ detail, level }: SheetProps) {
  if (detail.explanations.length === 0) return null;
  return (
    <section class="explanations">
      <Heading level={level}>Explanations</Heading>
      <ul>
        {detail.explanations.map((one, i) => (
          <li key={i}>
            {one.explanation === null ? (
              <p class="absent">No explanation: {visibleText(one.failure ?? "no reason was kept")}</p>
            ) : (
              <p>
                <bdi>{visibleText(one.explanation)}</bdi>
              </p>
            )}
            <p class="caption">
              {visibleText(one.model)}, shown {visibleText(one.method)}
              {SCORERS.map((scorer) => scoreText(one, scorer))}
            </p>
          </li>
        ))}
      </ul>
    </section>
  );
}

const SCORERS = ["detection", "fuzzing"] as const;

/** Balanced accuracy with its interval, and the control and baseline on the same contexts. */
function scoreText(one: Explanation, scorer: (typeof SCORERS)[number]): string {
  const number = (name: string) => {
    const value = one[`${scorer}_${name}`];
    return typeof value === "number" && !Number.isNaN(value) ? value : null;
  };
  const accuracy = number("accuracy");
  if (accuracy === null) return "";
  const [low, high] = [number("low"), number("high")];
  const interval = low === null || high === null ? "" : ` (${fixed(low, 2)} … ${fixed(high, 2)})`;
  const beside = (["control", "baseline"] as const)
    .map((name) => [name, number(name)] as const)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${fixed(value, 2)}`)
    .join(", ");
  return ` · ${scorer} ${fixed(accuracy, 2)}${interval}${beside === "" ? "" : `, ${beside}`}`;
}
