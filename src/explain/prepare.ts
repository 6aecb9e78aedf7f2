/** Everything before the first request: which latents, what they are shown and tested with, and what that will take. */
import { DataError } from "../errors.ts";
import { testSetOf } from "./contexts.ts";
import type { Example } from "./examples.ts";
import type { IndexReader, LatentFacts } from "./index-reader.ts";
import { type Case, type ExplainPlan, planExplaining } from "./plan.ts";
import { sampleLatents } from "./sampling.ts";
import { type ExplainOptions, type Settings, settingsOf } from "./settings.ts";
import { pieceOf, type SilenceOf } from "./silence.ts";
import { loadSubjects, type Subject } from "./subjects.ts";

export interface Prepared {
  readonly settings: Settings;
  /** what the model is shown: see EXPLANATIONS */
  readonly method: string;
  /** ascending by latent */
  readonly cases: readonly Case[];
  readonly plan: ExplainPlan;
}

/** @throws {DataError} a latent is not of the index */
export async function prepare(reader: IndexReader, options: ExplainOptions): Promise<Prepared> {
  const settings = settingsOf(options);
  const facts = await reader.facts();
  const latents = chosenLatents(facts, options, settings);
  const promoted = settings.promoted && reader.manifest.logits !== null;
  const subjects = await loadSubjects(
    reader,
    facts,
    latents,
    latentsToScore(facts, latents, options, settings),
    {
      ...settings,
      promoted,
      within: options.within,
    },
  );
  const silence: SilenceOf = (await options.silence?.(unproved(subjects))) ?? (() => "unknown");
  const cases = subjects.map(
    (subject): Case => ({
      subject,
      testSet: subject.candidates === null ? null : testSetOf(subject, silence, settings),
    }),
  );
  return {
    settings,
    method: promoted ? "examples+logits" : "examples",
    cases,
    plan: planExplaining(cases, settings),
  };
}

/** Ascending, each once. */
function chosenLatents(facts: readonly LatentFacts[], options: ExplainOptions, settings: Settings): number[] {
  if (options.latents === undefined) return sampleLatents(facts, settings.sample, settings.seed, "explain");
  const chosen = [...new Set(options.latents)].sort((a, b) => a - b);
  const foreign = chosen.find((latent) => facts[latent] === undefined);
  if (foreign !== undefined)
    throw new DataError(`there is no latent ${foreign}`, {
      hint: `the index has latents 0 to ${facts.length - 1}`,
    });
  return chosen;
}

function latentsToScore(
  facts: readonly LatentFacts[],
  latents: readonly number[],
  { score = latents.length }: ExplainOptions,
  { seed }: Settings,
): ReadonlySet<number> {
  if (score >= latents.length) return new Set(latents);
  if (score === 0) return new Set();
  const chosen = latents.map((latent) => facts[latent]);
  return new Set(sampleLatents(chosen, score, seed, "score"));
}

/** Candidates of which the index alone does not say whether the latent fires in them. */
function unproved(subjects: readonly Subject[]): { latent: number; example: Example }[] {
  return subjects.flatMap(({ facts: { latent }, candidates, silence }) =>
    Object.values<readonly Example[]>(candidates ?? {}).flatMap((examples) =>
      examples
        .filter((example) => silence(latent, pieceOf(example)) === "unknown")
        .map((example) => ({ latent, example })),
    ),
  );
}
