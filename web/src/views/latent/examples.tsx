/** Where it fires, in context: first the strongest, then samples from each interval of activation, so that all of it is seen. */
import { useState } from "preact/hooks";
import type { ExampleRow } from "../../../../src/dashboard/index-rows.ts";
import { INTERVALS } from "../../../../src/dashboard/tables.ts";
import { count, short } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading, type Level } from "../../parts/heading.tsx";
import { TokenStrip } from "../../parts/token-strip.tsx";
import { quotedToken } from "../../parts/token-text.ts";
import type { SheetProps } from "./props.ts";

/** Shown at once of the strongest; the others are a click away. */
const FIRST = 8;

export function Examples(props: SheetProps) {
  const { detail, level } = props;
  const most = detail.numbers.max_act;
  const groups = [-1, ...Array.from({ length: INTERVALS }, (_, i) => INTERVALS - 1 - i)]
    .map((interval) => ({ interval, examples: detail.examples.filter((one) => one.interval === interval) }))
    .filter(({ examples }) => examples.length > 0);
  return (
    <section class="examples">
      <Heading level={level}>Examples</Heading>
      {groups.map(({ interval, examples }) => (
        <Group key={interval} {...props} interval={interval} examples={examples} most={most} />
      ))}
    </section>
  );
}

function Group(props: SheetProps & { interval: number; examples: readonly ExampleRow[]; most: number }) {
  const { detail, interval, examples, most, level } = props;
  const [isAll, setAll] = useState(false);
  const shown = isAll ? examples : examples.slice(0, FIRST);
  const inInterval = detail.histograms?.intervals[interval];
  return (
    <div class="group">
      <Heading level={(level + 1) as Level}>
        {interval < 0
          ? "Strongest, one a document"
          : `Activation ${short((most * interval) / INTERVALS, 3)} … ${short((most * (interval + 1)) / INTERVALS, 3)}`}
        {inInterval !== undefined && <span class="caption"> {count(inInterval)} tokens</span>}
      </Heading>
      <ol class="contexts">
        {shown.map((example) => (
          <li key={example.rank}>
            <ExampleLine {...props} example={example} />
          </li>
        ))}
      </ol>
      {examples.length > shown.length && (
        <button type="button" onClick={() => setAll(true)}>
          {count(examples.length - shown.length)} more
        </button>
      )}
    </div>
  );
}

function ExampleLine({ detail, example, most }: SheetProps & { example: ExampleRow; most: number }) {
  const { value, at, tokens, acts, document, window, position, role, source } = example;
  const { splits } = detail.manifest;
  const where = [
    splits.role.length > 1 ? splits.role[role]?.name : undefined,
    splits.source.length > 1 ? splits.source[source]?.name : undefined,
    `document ${document}, window ${window}, position ${position}`,
  ].filter((part) => part !== undefined);
  return (
    <>
      <span class="value" data-tip={visibleText(where.join(" · "))}>
        {short(value, 3)}
      </span>
      <TokenStrip
        label={`Activation ${short(value, 3)} at ${quotedToken(tokens[at] ?? "")}, ${visibleText(where.join(", "))}`}
        tokens={tokens}
        values={acts.map((act) => (act > 0 ? act : null))}
        most={most}
        what="activation"
        at={at}
      />
    </>
  );
}
