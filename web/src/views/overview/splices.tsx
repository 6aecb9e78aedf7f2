/** What the model loses when SAEs stand in for its activations. */
import type { RunOverview } from "../../../../src/dashboard/overview.ts";
import { fixed, percent } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading, type Level } from "../../parts/heading.tsx";
import { EstimateText, PHASE_NAMES } from "./results.tsx";

const COLUMNS = [
  { name: "ceClean", title: "CE clean" },
  { name: "ceSpliced", title: "CE spliced" },
  { name: "klSpliced", title: "KL spliced" },
  { name: "ceScore", title: "CE recovered" },
  { name: "klScore", title: "KL recovered" },
] as const;
const SHARES: readonly string[] = ["ceScore", "klScore"];

export function Splices({ run, level }: { run: RunOverview; level: Level }) {
  if (run.splices.length === 0) return null;
  return (
    <section>
      <Heading level={level}>Predictions with SAEs spliced in</Heading>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              {["Layers", "Set", "Phase"].map((head) => (
                <th key={head} scope="col" class="text">
                  {head}
                </th>
              ))}
              {COLUMNS.map(({ name, title }) => (
                <th key={name} scope="col" data-tip={run.definitions[name]}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {run.splices.map(({ layers, set, phase, metrics }) => (
              <tr key={`${layers.join()} ${set} ${phase}`}>
                <th scope="row" class="text">
                  {layers.join(", ")}
                </th>
                <td class="text">{visibleText(set)}</td>
                <td class={`text ${phase}`}>{PHASE_NAMES[phase]}</td>
                {COLUMNS.map(({ name }) => (
                  <td key={name}>
                    <EstimateText
                      of={metrics[name]}
                      write={(value) => (SHARES.includes(name) ? percent(value) : fixed(value, 4))}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
