/** The tokens that are reconstructed worst, in their context. */
import type { WorstToken } from "../../evals/result.ts";
import type { Phase, ReportFacts } from "../facts.ts";
import { measured, PHASES } from "../facts.ts";
import { type Section, table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { ABSENT, count, fixed, percent, short } from "../numbers.ts";
import { visibleSpaces } from "../visible-text.ts";
import { perSet } from "./per-set.ts";

const SHOWN: readonly Phase[] = ["before", "after"];
/** shown at once; the others are a click away */
const FIRST = 5;

export function worstTokensSection(facts: ReportFacts): Section {
  const lists = perSet(
    facts,
    (layer, set) =>
      SHOWN.flatMap((phase) => {
        const worst = measured(layer, phase, set)?.outliers?.worst ?? [];
        return worst.length === 0 ? [] : [tokenList({ layer: layer.layer, set, phase, worst })];
      }),
    (drawn) => drawn,
  );
  return {
    id: "worst-tokens",
    title: "The worst tokens in context",
    body:
      lists === null
        ? null
        : [
            html`<p>Tokens of largest squared error. <i>Norm</i>: the activation’s, and how many times the set’s median that is. ↵ is a line break, ⇥ a tab.</p>
`,
            lists,
          ],
  };
}

interface TokenList {
  readonly layer: number;
  readonly set: string;
  readonly phase: Phase;
  readonly worst: readonly WorstToken[];
}

function tokenList({ layer, set, phase, worst }: TokenList): Markup {
  const carried = worst.reduce((sum, { sseShare }) => sum + sseShare, 0);
  const rows = (from: number, to: number) =>
    table({
      caption: `Worst tokens ${from + 1} to ${Math.min(to, worst.length)} of ${set}, layer ${layer}, ${PHASES[phase]}`,
      columns: [
        "rank",
        "in context",
        "of the error",
        "norm",
        "× median",
        "position",
        "document",
        "source, role",
      ],
      texts: [1, 7],
      rows: worst
        .slice(from, to)
        .map((token, i) => [
          from + i + 1,
          inContext(token),
          percent(token.sseShare),
          short(token.norm),
          fixed(token.normRatio, 1),
          count(token.position),
          count(token.document),
          [token.source, token.role].filter((part) => part !== null).join(", ") || ABSENT,
        ]),
    });
  const title = `${set}, ${PHASES[phase]}: the worst ${worst.length} carry ${percent(carried)} of the squared error`;
  // what there was before is shown first; what is left after is a click away
  if (phase === "after")
    return html`<details class="tokens"><summary>${title}</summary>${rows(0, worst.length)}</details>
`;
  return html`<div class="tokens"><h4>${title}</h4>
${rows(0, FIRST)}${worst.length > FIRST ? html`<details><summary>The next ${worst.length - FIRST}</summary>${rows(FIRST, worst.length)}</details>` : null}</div>
`;
}

/** The token marked in what stood around it; its number where texts are not known. */
function inContext({ token, before, after, tokenId }: WorstToken): Markup {
  if (token === null) return html`token ${tokenId}`;
  return html`<bdi class="context">${before === null ? null : visibleSpaces(before)}<mark>${visibleSpaces(token) || "∅"}</mark>${after === null ? null : visibleSpaces(after)}</bdi>`;
}
