/** The list of latents that are steered by, with what is done to each. */
import { short } from "../../../../src/report/numbers.ts";
import type { Latents } from "../../data/latents.ts";
import { LatentName } from "../latents/columns.tsx";
import { type Draft, KINDS, type Kind, MEANINGS, numberOrNull } from "./interventions.ts";

export interface InterventionsEditorProps {
  readonly latents: Latents;
  readonly drafts: readonly Draft[];
  readonly onChange: (drafts: readonly Draft[]) => void;
}

export function InterventionsEditor({ latents, drafts, onChange }: InterventionsEditorProps) {
  const set = (at: number, patch: Partial<Draft>) =>
    onChange(drafts.map((draft, i) => (i === at ? { ...draft, ...patch } : draft)));
  return (
    <fieldset class="interventions">
      <legend>What is done to which latent</legend>
      {drafts.map((draft, i) => (
        <div key={i} class="intervention">
          <label class="field">
            <span>Latent</span>
            <input
              type="number"
              min={0}
              max={latents.nLatents - 1}
              step={1}
              value={draft.latent ?? ""}
              onInput={(event) => set(i, { latent: numberOrNull(event.currentTarget.value) })}
            />
          </label>
          <label class="field">
            <span>Activation a becomes</span>
            <select
              value={draft.kind}
              onChange={(event) => set(i, { kind: event.currentTarget.value as Kind })}
            >
              {KINDS.map((kind) => (
                <option key={kind} value={kind}>
                  {kind}: {MEANINGS[kind]}
                </option>
              ))}
            </select>
          </label>
          {draft.kind !== "ablate" && (
            <label class="field">
              <span>{draft.kind === "scale" ? "Factor" : "Value"}</span>
              <input
                type="number"
                step="any"
                value={draft.value ?? ""}
                onInput={(event) => set(i, { value: numberOrNull(event.currentTarget.value) })}
              />
            </label>
          )}
          <p class="about">
            <About latents={latents} draft={draft} />
          </p>
          <button
            type="button"
            class="quiet"
            aria-label={`Remove intervention ${i + 1}`}
            onClick={() => onChange(drafts.filter((_, other) => other !== i))}
          >
            Remove
          </button>
        </div>
      ))}
      <button type="button" onClick={() => onChange([...drafts, { kind: "add", latent: null, value: null }])}>
        Add a latent
      </button>
    </fieldset>
  );
}

/** The latent's name and range, so that a value means something. */
function About({ latents, draft }: { latents: Latents; draft: Draft }) {
  const { latent } = draft;
  if (latent === null) return <span class="absent">which latent?</span>;
  if (!(latent < latents.nLatents))
    return <span class="bad">there are latents 0 … {latents.nLatents - 1}</span>;
  return (
    <>
      <LatentName latents={latents} latent={latent} />{" "}
      <span class="caption">fires up to {short(latents.numbers.max_act[latent], 3)}</span>
    </>
  );
}
