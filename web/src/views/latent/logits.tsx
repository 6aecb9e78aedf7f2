/** Tokens it promotes and suppresses most. */

import type { LogitRow } from "../../../../src/dashboard/index-rows.ts";
import { signed } from "../../../../src/report/numbers.ts";
import { Heading, type Level } from "../../parts/heading.tsx";
import { quotedToken } from "../../parts/token-text.ts";
import type { SheetProps } from "./props.ts";

export function Logits({ detail, level }: SheetProps) {
  if (detail.manifest.logits === null)
    return (
      <section>
        <Heading level={level}>Logits</Heading>
        <p class="absent">The index was made without the model, so there are none.</p>
      </section>
    );
  const side = (name: LogitRow["side"]) => detail.logits.filter((token) => token.side === name);
  return (
    <section>
      <Heading level={level}>Logits</Heading>
      <div class="pair">
        <Ranked title="Promotes" tokens={side("top")} level={level} tone="after" />
        <Ranked title="Suppresses" tokens={side("bottom")} level={level} tone="before" />
      </div>
    </section>
  );
}

function Ranked(props: {
  title: string;
  tokens: readonly LogitRow[];
  level: Level;
  tone: "after" | "before";
}) {
  const { title, tokens, tone } = props;
  const most = Math.max(...tokens.map(({ value }) => Math.abs(value)), 1e-30);
  return (
    <div class="scroll">
      <table class={`ranked ${tone}`}>
        <caption>{title}</caption>
        <thead class="unseen">
          <tr>
            <th scope="col">Token</th>
            <th scope="col">Logit</th>
          </tr>
        </thead>
        <tbody>
          {tokens.map(({ token_id: id, token, value }) => (
            <tr key={id}>
              <th scope="row" class="text" data-tip={`token ${id}`}>
                <bdi class="token-name">{quotedToken(token)}</bdi>
              </th>
              <td>
                <span class="bar" style={{ "--share": `${(100 * Math.abs(value)) / most}%` }} />
                {signed(value, 3)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
