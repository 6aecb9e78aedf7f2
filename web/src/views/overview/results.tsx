/** The results before and after, set by set, with their intervals; why; and every metric there is. */
import type {
  Estimate,
  LayerOverview,
  MeasuredPhase,
  RunOverview,
} from "../../../../src/dashboard/overview.ts";
import { count, fixed, percent, short, signed } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading, type Level } from "../../parts/heading.tsx";

const PHASES = ["home", "before", "prepolish", "after"] as const;
export const PHASE_NAMES: Readonly<Record<MeasuredPhase, string>> = {
  home: "at home",
  before: "before",
  prepolish: "before polish",
  after: "after",
};

export function Results({ run, level }: { run: RunOverview; level: Level }) {
  const phases = PHASES.filter((phase) =>
    run.layers.some(({ measurements }) => measurements.some((one) => one.phase === phase)),
  );
  const shown = phases.filter((phase) => phase !== "prepolish");
  const hasChange = run.layers.some(({ measurements }) =>
    measurements.some(({ veChange }) => veChange !== null),
  );
  if (phases.length === 0) return <p class="absent">Nothing was measured yet.</p>;
  return (
    <section>
      <Heading level={level}>Results</Heading>
      <div class="scroll">
        <table class="results">
          <thead>
            <tr>
              <th scope="col" rowSpan={2} class="text">
                Layer
              </th>
              <th scope="col" rowSpan={2} class="text">
                Set
              </th>
              <th scope="colgroup" colSpan={shown.length + Number(hasChange)} data-tip={run.definitions.ve}>
                Variance explained
              </th>
              <th scope="colgroup" colSpan={shown.length} data-tip={run.definitions.l0}>
                L0
              </th>
              <th scope="col" rowSpan={2} data-tip="latents that fire on no token of the set, after">
                Never fired
              </th>
            </tr>
            <tr>
              {shown.map((phase) => (
                <th key={phase} scope="col" class={phase}>
                  {PHASE_NAMES[phase]}
                </th>
              ))}
              {hasChange && <th scope="col">change</th>}
              {shown.map((phase) => (
                <th key={phase} scope="col" class={phase}>
                  {PHASE_NAMES[phase]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {run.layers.flatMap((layer) =>
              setsOf(run, layer).map((set, i) => (
                <Row
                  key={`${layer.layer} ${set}`}
                  layer={layer}
                  set={set}
                  isFirst={i === 0}
                  phases={shown}
                  hasChange={hasChange}
                  gate={run.gate}
                />
              )),
            )}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface RowProps {
  readonly layer: LayerOverview;
  readonly set: string;
  readonly isFirst: boolean;
  readonly phases: readonly MeasuredPhase[];
  readonly hasChange: boolean;
  readonly gate: number | null;
}

function Row({ layer, set, isFirst, phases, hasChange, gate }: RowProps) {
  const of = (phase: MeasuredPhase) =>
    layer.measurements.find((one) => one.phase === phase && one.set === set);
  const last = of("after") ?? of("before");
  const isDomain = last?.isDomain === true;
  return (
    <tr class={isFirst ? "first" : undefined}>
      <th scope="row" class="text">
        {layer.layer}
      </th>
      <th scope="row" class="text">
        {visibleText(set)}
        {isDomain && <span class="tag">another kind of text</span>}
      </th>
      {phases.map((phase) => {
        const ve = of(phase)?.metrics.ve;
        const isShort = gate !== null && !isDomain && phase !== "home" && (ve?.value ?? 1) < gate;
        return (
          <td
            key={phase}
            class={isShort ? "short" : undefined}
            data-tip={isShort ? `below ${gate}` : undefined}
          >
            <EstimateText of={ve} write={(value) => fixed(value, 4)} />
          </td>
        );
      })}
      {hasChange && (
        <td>
          <EstimateText of={of("after")?.veChange ?? undefined} write={(value) => signed(value, 4)} />
        </td>
      )}
      {phases.map((phase) => (
        <td key={phase}>
          <EstimateText of={of(phase)?.metrics.l0} write={(value) => short(value, 3)} />
        </td>
      ))}
      <td>{last === undefined ? "–" : percent(last.nNeverFired / last.nLatents)}</td>
    </tr>
  );
}

/** A number above its interval. */
export function EstimateText({
  of,
  write,
}: {
  of: Estimate | undefined;
  write: (value: number | null) => string;
}) {
  if (of === undefined) return <>–</>;
  return (
    <>
      {write(of.value)}
      {of.low !== null && of.high !== null && (
        <small>
          {write(of.low)} … {write(of.high)}
        </small>
      )}
    </>
  );
}

function setsOf(run: RunOverview, layer: LayerOverview): string[] {
  const measured = [...new Set(layer.measurements.map(({ set }) => set))];
  const order = run.sets.map(({ name }) => name);
  return measured.sort((a, b) => order.indexOf(a) - order.indexOf(b));
}

export function Verdicts({ run }: { run: RunOverview }) {
  const verdicts = run.layers.flatMap(({ layer, verdicts }) =>
    verdicts.map((verdict) => ({ layer, ...verdict })),
  );
  if (verdicts.length === 0) return null;
  return (
    <ul class="verdicts">
      {verdicts.map(({ layer, phase, verdict, set, reasons }) => (
        <li key={`${layer} ${phase}`}>
          <span class={`badge ${verdict}`}>{verdict}</span> Layer {layer}, {phase}, on {visibleText(set)}:{" "}
          {visibleText(reasons.join(" "))}
        </li>
      ))}
    </ul>
  );
}

/** All numbers of all phases, for who wants another one. */
export function EveryMetric({ run }: { run: RunOverview }) {
  const measurements = run.layers.flatMap(({ layer, measurements }) =>
    measurements.map((one) => ({ layer, ...one })),
  );
  const names = [...new Set(measurements.flatMap(({ metrics }) => Object.keys(metrics)))];
  if (measurements.length === 0) return null;
  return (
    <details>
      <summary>Every metric</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard */}
      <div class="scroll" tabIndex={0} role="region" aria-label="Every metric">
        <table class="small">
          <thead>
            <tr>
              {["Layer", "Set", "Phase"].map((head) => (
                <th key={head} scope="col" class="text">
                  {head}
                </th>
              ))}
              <th scope="col">Tokens</th>
              {names.map((name) => (
                <th key={name} scope="col" data-tip={run.definitions[name]}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {measurements.map(({ layer, set, phase, nTokens, metrics }) => (
              <tr key={`${layer} ${set} ${phase}`}>
                <td class="text">{layer}</td>
                <td class="text">{visibleText(set)}</td>
                <td class={`text ${phase}`}>{PHASE_NAMES[phase]}</td>
                <td>{count(nTokens)}</td>
                {names.map((name) => (
                  <td key={name}>
                    <EstimateText of={metrics[name]} write={(value) => short(value)} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <dl class="definitions">
        {names.map((name) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{run.definitions[name] ?? "not defined in this run's files"}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
