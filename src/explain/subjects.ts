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
/** Of a latent's own tokens so many, the most frequent; at each so many examples of others are looked through. */
const TOKENS = 4;
const AT_A_TOKEN = 16;

/** In the order of `latents`. `toScore`: those that need contexts to judge. */
export async function loadSubjects(
  reader: IndexReader,
  facts: readonly LatentFacts[],
  latents: readonly number[],
  toScore: ReadonlySet<number>,
  options: SubjectOptions,
): Promise<Subject[]> {
  const cut = async (examples: readonly Example[]) =>
    ((await options.within?.(examples)) ?? examples).map((example) =>
      trimmed(example, options.tokensBefore, options.tokensAfter),
    );
  const pool = toScore.size === 0 ? [] : await cut(await randomExamples(reader, facts, options.seed));
  const subjects: Subject[] = [];
  for (let from = 0; from < latents.length; from += CHUNK) {
    const chunk = latents.slice(from, from + CHUNK);
    const loaded = await loadChunk(reader, facts, chunk, options, cut);
    const scored = loaded.filter(({ facts: { latent } }) => toScore.has(latent));
    const candidates = await candidatesOf(reader, scored, pool, options, cut);
    for (const subject of loaded)
      subjects.push({ ...subject, candidates: candidates.get(subject.facts.latent) ?? null });
  }
  return subjects;
}

type Cut = (examples: readonly Example[]) => Promise<Example[]>;
type Loaded = Omit<Subject, "candidates">;

async function loadChunk(
  reader: IndexReader,
  facts: readonly LatentFacts[],
  latents: readonly number[],
  { seed, nShown, nJudged, promoted }: SubjectOptions,
  cut: Cut,
): Promise<Loaded[]> {
  const examples = await reader.examples(latents);
  const tokens = promoted ? await reader.promotedTokens(latents) : new Map<number, string[]>();
  const near = await reader.decoderNeighbours(latents);
  const silence = silenceByIndex(examples, (latent) => facts[latent].nActive);
  const loaded: Loaded[] = [];
  for (const latent of latents) {
    const split = splitExamples(examples.get(latent) ?? [], { seed, nShown, nHeldOut: nJudged });
    loaded.push({
      facts: facts[latent],
      shown: await cut(split.shown),
      heldOut: await cut(split.heldOut),
      promoted: tokens.get(latent) ?? [],
      near: near.get(latent) ?? [],
      silence,
    });
  }
  return loaded;
}

/** Of each latent, examples of others in which it may be silent. */
async function candidatesOf(
  reader: IndexReader,
  scored: readonly Loaded[],
  pool: readonly Example[],
  { seed, nJudged }: SubjectOptions,
  cut: Cut,
): Promise<Map<number, Candidates>> {
  const nearest = ({ near }: Loaded) => near.slice(0, NEIGHBOURS);
  const neighbours = await reader.examples([...new Set(scored.flatMap(nearest))]);
  const matched = await reader.examplesAt([...new Set(scored.flatMap(ownTokens))], AT_A_TOKEN, seed);
  const candidates = new Map<number, Candidates>();
  for (const subject of scored) {
    const { latent } = subject.facts;
    const draw = (kind: keyof Candidates, examples: readonly Example[]) =>
      drawCandidates(
        examples.filter((example) => example.latent !== latent),
        {
          n: CANDIDATES * nJudged,
          seed,
          purpose: `explain/negatives/${kind}/${latent}`,
          taken: [...subject.shown, ...subject.heldOut],
        },
      );
    const of = <Key>(keys: readonly Key[], examples: ReadonlyMap<Key, Example[]>) =>
      keys.flatMap((key) => examples.get(key) ?? []);
    const isNear = new Set(subject.near);
    candidates.set(latent, {
      hard: await cut(draw("hard", of(nearest(subject), neighbours))),
      matched: await cut(draw("matched", of(ownTokens(subject), matched))),
      random: draw(
        "random",
        pool.filter((example) => !isNear.has(example.latent)),
      ),
    });
  }
  return candidates;
}

/** The tokens it fires on most often in its own examples; equally often: in the order of the examples. */
function ownTokens({ shown, heldOut }: Loaded): string[] {
  const counts = new Map<string, number>();
  for (const { tokens, at } of [...shown, ...heldOut])
    counts.set(tokens[at], (counts.get(tokens[at]) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, TOKENS)
    .map(([token]) => token);
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
