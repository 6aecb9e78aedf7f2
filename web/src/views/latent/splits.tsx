/** Among which tokens it fires: by role, source and position, with how often it would be chance. */

import type { SplitRow } from "../../../../src/dashboard/index-rows.ts";
import type { TokenClass } from "../../../../src/dashboard/manifest.ts";
import { count, percent, short } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading } from "../../parts/heading.tsx";
import type { SheetProps } from "./props.ts";

const KINDS = ["role", "source", "position"] as const;

export function Splits({ detail, level }: SheetProps) {
  const density = detail.numbers.density;
  const tables = KINDS.map((kind) => ({
    kind,
    classes: detail.manifest.splits[kind],
    rows: detail.splits.filter((split) => split.kind === kind),
  })).filter(({ classes, rows }) => classes.length > 1 && rows.length > 0);
  if (tables.length === 0) return null;
  return (
    <section>
      <Heading level={level}>Where it fires</Heading>
      <div class="pair">
        {tables.map(({ kind, classes, rows }) => (
          <SplitTable key={kind} kind={kind} classes={classes} rows={rows} density={density} />
        ))}
      </div>
    </section>
  );
}

function SplitTable(props: {
  kind: (typeof KINDS)[number];
  classes: readonly TokenClass[];
  rows: readonly SplitRow[];
  density: number;
}) {
  const { kind, classes, rows, density } = props;
  return (
    <div class="scroll">
      <table>
        <caption>By {kind}</caption>
        <thead>
          <tr>
            <th scope="col" class="text">
              {kind}
            </th>
            <th scope="col">Tokens</th>
            <th scope="col">Density there</th>
            <th scope="col" data-tip="density there over density everywhere">
              Lift
            </th>
            <th scope="col">Mean act</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const { name, nTokens } = classes[row.class] ?? { name: `class ${row.class}`, nTokens: 0 };
            const there = nTokens > 0 ? row.n_active / nTokens : Number.NaN;
            return (
              <tr key={row.class}>
                <th scope="row" class="text">
                  {visibleText(name)}
                </th>
                <td>{count(row.n_active)}</td>
                <td>{percent(there)}</td>
                <td>{density > 0 ? `${short(there / density, 3)}×` : "–"}</td>
                <td>{short(row.mean_act, 3)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
