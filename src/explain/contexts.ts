/** The contexts a latent's explanation is tested on, as the judge will see them: those where it fires, and those where not. */
import type { ScorerName } from "../dashboard/explanations.ts";
import { Philox } from "../random/philox.ts";
import type { Example } from "./examples.ts";
import { chooseNegatives } from "./negatives.ts";
import { contextText, markedTokens } from "./prompts.ts";
import { MIN_JUDGED } from "./scores.ts";
import { firstThatKnows, type SilenceOf } from "./silence.ts";
import type { Subject } from "./subjects.ts";

export interface Context {
  readonly isPositive: boolean;
  /** as each scorer shows it */
  readonly texts: Readonly<Record<ScorerName, string>>;
}

export interface TestSet {
  /** positives and negatives, mixed by (seed, latent) */
  readonly contexts: readonly Context[];
  readonly nPositives: number;
  readonly nNegatives: number;
  readonly nHard: number;
  readonly nMatched: number;
  /** expected share of the negatives in which it fires after all */
  readonly negativeError: number;
}

/** A test set, or why there can be none. `silence`: what is known beyond the index. */
export function testSetOf(
  subject: Subject,
  silence: SilenceOf,
  options: { readonly seed: number; readonly nJudged: number },
): TestSet | { readonly failure: string } {
  const { facts, heldOut, candidates } = subject;
  if (candidates === null) throw new Error(`latent ${facts.latent} was not loaded to be scored`);
  if (heldOut.length < MIN_JUDGED)
    return {
      failure: `too few held-out documents in which it fires: ${heldOut.length}, where ${MIN_JUDGED} are needed`,
    };
  const negatives = chooseNegatives(candidates, {
    latent: facts.latent,
    density: facts.density,
    n: options.nJudged,
    silence: firstThatKnows(subject.silence, silence),
  });
  if (negatives.length < MIN_JUDGED)
    return {
      failure: `too few contexts in which it is known, or likely enough, not to fire: ${negatives.length}, where ${MIN_JUDGED} are needed`,
    };
  const draw = new Philox(options.seed, `explain/contexts/${facts.latent}`);
  const marks = heldOut.map((example) => markedTokens(example));
  const nMarked = Math.max(1, Math.round(marks.reduce((sum, { length }) => sum + length, 0) / marks.length));
  const contexts = [
    ...heldOut.map((example, i) => context(true, example, marks[i])),
    ...negatives.map(({ example }, i) =>
      context(false, example, randomTokens(example, nMarked, options.seed, `${facts.latent}/${i}`)),
    ),
  ];
  return {
    contexts: [...draw.permutation(contexts.length)].map((i) => contexts[i]),
    nPositives: heldOut.length,
    nNegatives: negatives.length,
    nHard: negatives.filter(({ kind }) => kind === "hard").length,
    nMatched: negatives.filter(({ kind }) => kind === "matched").length,
    negativeError: negatives.reduce((sum, { error }) => sum + error, 0) / negatives.length,
  };
}

function context(isPositive: boolean, { tokens }: Example, marked: readonly number[]): Context {
  return { isPositive, texts: { detection: contextText(tokens, []), fuzzing: contextText(tokens, marked) } };
}

/** `n` of its tokens that are more than space, in order. */
function randomTokens({ tokens }: Example, n: number, seed: number, purpose: string): number[] {
  const visible = [...tokens.keys()].filter((t) => tokens[t].trim() !== "");
  const order = new Philox(seed, `explain/marks/${purpose}`).permutation(visible.length);
  return [...order.subarray(0, n)].map((i) => visible[i]).sort((a, b) => a - b);
}
