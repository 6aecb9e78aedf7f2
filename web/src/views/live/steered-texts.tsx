/** Both texts as they grow, side by side; where they part is marked. */
import { count, counted, fixed } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import type { Side, SteeringState } from "./use-steering.ts";

const TITLES: Readonly<Record<Side, string>> = { plain: "Unsteered", steered: "Steered" };
const ENDS = { length: "", stop: "the model ended here", context: "the context is full" } as const;

export function SteeredTexts({ state }: { state: SteeringState }) {
  if (state.phase === "none") return null;
  const { plain, steered } = state;
  const parts = plain.tokens.findIndex(
    (token, i) => steered.tokens[i] !== undefined && steered.tokens[i] !== token,
  );
  return (
    <section class="steered" aria-label="Generated text" aria-busy={state.phase === "running"}>
      <p class="caption" role="status">
        {statusText(state)}
      </p>
      <div class="pair">
        {(["plain", "steered"] as const).map((side) => (
          <div key={side} class={`generated ${side}`}>
            <h2>{TITLES[side]}</h2>
            <p class="text" dir="auto">
              {state[side].tokens.map((token, i) => (
                <span key={i} class={i === parts ? "parts" : undefined}>
                  {visibleText(token)}
                </span>
              ))}
              {visibleText(state[side].rest)}
              {state.phase === "running" && state[side].why === null && (
                <span class="caret" aria-hidden="true" />
              )}
            </p>
            {state[side].why !== null && <p class="caption">{ENDS[state[side].why as keyof typeof ENDS]}</p>}
          </div>
        ))}
      </div>
    </section>
  );
}

function statusText({ phase, seconds, nForwards, steered, plain }: SteeringState): string {
  if (phase === "running") return "Generating …";
  if (phase === "stopped") return "Stopped.";
  if (phase === "failed") return "";
  const n = plain.tokens.length + steered.tokens.length;
  return `${counted(n, "token")} in ${fixed(seconds, 1)} s, ${count(nForwards)} passes through the model.`;
}
