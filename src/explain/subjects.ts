/**
 * The latents to explain, each with all that is asked about it: examples to show, held-out ones to judge, and candidates
 * for contexts in which it does not fire. Read from the index a few latents at a time.
 */

import { Philox } from "../random/philox.ts";
import { type Example, splitExamples, trimmed } from "./examples.ts";
import type { IndexReader, LatentFacts } from "./index-reader.ts";
import { type Candidates, drawCandidates } from "./negatives.ts";
import { type SilenceOf, silenceByIndex } from "./silence.ts";

export interface Subject {
  readonly facts: LatentFacts;
  readonly shown: readonly Example[];
  readonly heldOut: readonly Example[];
  /** tokens it promotes; empty: not asked for, or not known */
  readonly promoted: readonly string[];
  /** near by decoder row */
  readonly near: readonly number[];
  /** null: it is not to be scored */
  readonly candidates: Candidates | null;
  /** what the index alone can prove */
  readonly silence: SilenceOf;
}

export interface SubjectOptions {
  readonly seed: number;
  readonly nShown: number;
  /** contexts to judge in which it fires, and as many in which it does not */
  readonly nJudged: number;
  readonly tokensBefore: number;
  readonly tokensAfter: number;
  /** show promoted tokens */
  readonly promoted: boolean;
  /** takes other documents' tokens out of contexts, where it can */
  readonly within?: (examples: readonly Example[]) => Promise<Example[]>;
}

/** Latents read at once. */
const CHUNK = 32;
/** Decoder neighbours whose examples are looked through. */
const NEIGHBOURS = 8;
/** Candidates of each kind for one negative that is wanted. */
const CANDIDATES = 3;
/** Latents from which random negatives are drawn; the same for all. */
const POOL = 256;
/** Examples at a latent's tokens that are looked through. */
const AT_A_TOKEN = 64;

/** In the order of `latents`. `toScore`: those that need contexts to judge. */
export async function loadSubjects(
  reader: IndexReader,
  facts: readonly LatentFacts[],
  latents: readonly number[],
  toScore: ReadonlySet<number>,
  options: SubjectOptions,
): Promise<Subject[]> {
  const { seed } = options;
  const cut = async (examples: readonly Example[]) =>
    ((await options.within?.(examples)) ?? examples).map((example) =>
      trimmed(example, options.tokensBefore, options.tokensAfter),
    );
  const pool = toScore.size === 0 ? [] : await cut(await randomExamples(reader, facts, seed));
  const subjects: Omit<Subject, "candidates">[] = [];
  const hard = new Map<number, Example[]>();
  for (let from = 0; from < latents.length; from += CHUNK) {
    const chunk = latents.slice(from, from + CHUNK);
    const examples = await reader.examples(chunk);
    const promoted = options.promoted ? await reader.promotedTokens(chunk) : new Map<number, string[]>();
    const near = await reader.decoderNeighbours(chunk);
    const scored = chunk.filter((latent) => toScore.has(latent));
    const nearest = (latent: number) => (near.get(latent) ?? []).slice(0, NEIGHBOURS);
    const neighbours = await reader.examples([...new Set(scored.flatMap(nearest))]);
    const silence = silenceByIndex(examples, (latent) => facts[latent].nActive);
    for (const latent of chunk) {
      const split = splitExamples(examples.get(latent) ?? [], {
        seed,
        nShown: options.nShown,
        nHeldOut: options.nJudged,
      });
      subjects.push({
        facts: facts[latent],
        shown: await cut(split.shown),
        heldOut: await cut(split.heldOut),
        promoted: promoted.get(latent) ?? [],
        near: near.get(latent) ?? [],
        silence,
      });
    }
    for (const latent of scored)
      hard.set(latent, await cut(nearest(latent).flatMap((other) => neighbours.get(other) ?? [])));
  }
  const scored = subjects.filter(({ facts }) => toScore.has(facts.latent));
  const tokens = [...new Set(scored.flatMap(ownTokens))];
  const matched = new Map<string, Example[]>();
  for (const [token, examples] of await reader.examplesAt(tokens, AT_A_TOKEN, seed))
    matched.set(token, await cut(examples));
  return subjects.map((subject): Subject => {
    const { latent } = subject.facts;
    if (!toScore.has(latent)) return { ...subject, candidates: null };
    const draw = (kind: keyof Candidates, examples: readonly Example[]) =>
      drawCandidates(
        examples.filter((example) => example.latent !== latent),
        {
          n: CANDIDATES * options.nJudged,
          seed,
          purpose: `explain/negatives/${kind}/${latent}`,
          taken: [...subject.shown, ...subject.heldOut],
        },
      );
    const at = ownTokens(subject).flatMap((token) => matched.get(token) ?? []);
    const isNear = new Set(subject.near);
    return {
      ...subject,
      candidates: {
        hard: draw("hard", hard.get(latent) ?? []),
        matched: draw("matched", at),
        random: draw(
          "random",
          pool.filter((example) => !isNear.has(example.latent)),
        ),
      },
    };
  });
}

/** The tokens of its own examples, each once. */
function ownTokens({ shown, heldOut }: Pick<Subject, "shown" | "heldOut">): string[] {
  return [...new Set([...shown, ...heldOut].map(({ tokens, at }) => tokens[at]))];
}

/** All examples of some latents that fire, drawn at random. */
async function randomExamples(
  reader: IndexReader,
  facts: readonly LatentFacts[],
  seed: number,
): Promise<Example[]> {
  const alive = facts.filter(({ nActive }) => nActive > 0).map(({ latent }) => latent);
  const order = new Philox(seed, "explain/negatives/pool").permutation(alive.length);
  const drawn = [...order.subarray(0, POOL)].map((i) => alive[i]).sort((a, b) => a - b);
  return [...(await reader.examples(drawn)).values()].flat();
}
