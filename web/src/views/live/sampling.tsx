/** Where latents are moved, how much is generated, and how tokens are drawn. */
import type { SteerRequest } from "../../../../src/dashboard/live.ts";
import { numberOrNull } from "./interventions.ts";

export interface Sampling {
  readonly positions: SteerRequest["positions"];
  readonly nTokens: number;
  /** 0: the likeliest token each time */
  readonly temperature: number;
  /** null: all tokens may be drawn */
  readonly topK: number | null;
  readonly seed: number;
}

const POSITIONS = { all: "everywhere", prompt: "in the prompt", generated: "in what is generated" } as const;
const DEFAULTS: Sampling = { positions: "all", nTokens: 32, temperature: 0, topK: null, seed: 0 };

export function readSampling(search: URLSearchParams): Sampling {
  const number = (name: "nTokens" | "temperature" | "seed") =>
    numberOrNull(search.get(name) ?? undefined) ?? DEFAULTS[name];
  return {
    positions:
      (Object.keys(POSITIONS) as Sampling["positions"][]).find((name) => name === search.get("positions")) ??
      DEFAULTS.positions,
    nTokens: Math.min(256, Math.max(1, Math.round(number("nTokens")))),
    temperature: Math.max(0, number("temperature")),
    topK: numberOrNull(search.get("topK") ?? undefined),
    seed: Math.max(0, Math.round(number("seed"))),
  };
}

/** What differs from what is usual. */
export function writeSampling(sampling: Sampling): Record<keyof Sampling, string | null> {
  const write = (name: keyof Sampling) => (sampling[name] === DEFAULTS[name] ? null : String(sampling[name]));
  return {
    positions: write("positions"),
    nTokens: write("nTokens"),
    temperature: write("temperature"),
    topK: write("topK"),
    seed: write("seed"),
  };
}

export function SamplingEditor({
  sampling,
  onChange,
}: {
  sampling: Sampling;
  onChange: (sampling: Sampling) => void;
}) {
  const set = (patch: Partial<Sampling>) => onChange({ ...sampling, ...patch });
  return (
    <fieldset class="sampling">
      <legend>How it is generated</legend>
      <label class="field">
        <span>Latents are moved</span>
        <select
          value={sampling.positions}
          onChange={(event) => set({ positions: event.currentTarget.value as Sampling["positions"] })}
        >
          {Object.entries(POSITIONS).map(([name, title]) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Tokens</span>
        <input
          type="number"
          min={1}
          max={256}
          required
          value={sampling.nTokens}
          onChange={(event) => set({ nTokens: numberOrNull(event.currentTarget.value) ?? DEFAULTS.nTokens })}
        />
      </label>
      <label class="field">
        <span>Temperature</span>
        <input
          type="number"
          min={0}
          step="any"
          required
          value={sampling.temperature}
          onChange={(event) =>
            set({ temperature: numberOrNull(event.currentTarget.value) ?? DEFAULTS.temperature })
          }
        />
      </label>
      {sampling.temperature > 0 && (
        <>
          <label class="field">
            <span>Top k</span>
            <input
              type="number"
              min={1}
              placeholder="all"
              value={sampling.topK ?? ""}
              onChange={(event) => set({ topK: numberOrNull(event.currentTarget.value) })}
            />
          </label>
          <label class="field">
            <span>Seed</span>
            <input
              type="number"
              min={0}
              required
              value={sampling.seed}
              onChange={(event) => set({ seed: numberOrNull(event.currentTarget.value) ?? 0 })}
            />
          </label>
        </>
      )}
    </fieldset>
  );
}
