/**
 * Which of a latent's examples explain it, and which are kept to test the explanation. Documents and windows are divided
 * first, and examples follow: nothing the explaining model sees is of a document or window that is judged.
 */
import { Philox } from "../random/philox.ts";

/** A row of the index's examples: where a latent fires, in context. */
export interface Example {
  readonly latent: number;
  readonly rank: number;
  /** activation at `tokens[at]` */
  readonly value: number;
  /** the indexed set that document and window are numbers of */
  readonly set: number;
  readonly document: number;
  readonly window: number;
  /** of `tokens[at]` in its window */
  readonly position: number;
  readonly at: number;
  readonly tokens: readonly string[];
  /** the latent's own activation at each token */
  readonly acts: readonly number[];
}

export interface SplitExamples {
  /** largest activation first */
  readonly shown: readonly Example[];
  /** one a group of documents and windows; largest activation first */
  readonly heldOut: readonly Example[];
}

export interface SplitOptions {
  readonly seed: number;
  /** at most */
  readonly nShown: number;
  readonly nHeldOut: number;
}

/**
 * Groups of examples joined by a document or a window are dealt out: in order of their largest activation two by two, a
 * coin (seed, latent) deciding which of a pair is shown and which is held out, so that both halves span the same
 * activations. Of each group its strongest example is shown; held out is one drawn at random, so that weak activations
 * are tested too. Where a half has more than is asked for, they are taken at equal steps over its range of activations.
 */
export function splitExamples(examples: readonly Example[], options: SplitOptions): SplitExamples {
  if (examples.length === 0) return { shown: [], heldOut: [] };
  const draw = new Philox(options.seed, `explain/split/${examples[0].latent}`);
  const groups = groupsOf(examples).sort((a, b) => b[0].value - a[0].value || a[0].rank - b[0].rank);
  const shown: Example[] = [];
  const heldOut: Example[] = [];
  for (let g = 0; g < groups.length; g += 2) {
    // alone at the end: shown, for without an explanation there is nothing to test
    const first = groups[g + 1] === undefined || draw.uniform(2 * g) < 0.5;
    const [toShow, toJudge] = first ? [groups[g], groups[g + 1]] : [groups[g + 1], groups[g]];
    shown.push(toShow[0]);
    if (toJudge !== undefined) heldOut.push(toJudge[Math.floor(draw.uniform(2 * g + 1) * toJudge.length)]);
  }
  return { shown: evenly(shown, options.nShown), heldOut: evenly(heldOut, options.nHeldOut) };
}

/** What the examples of one document have in common, whatever the set. */
export function documentOf({ set, document }: Pick<Example, "set" | "document">): string {
  return `document ${set}/${document}`;
}

export function windowOf({ set, window }: Pick<Example, "set" | "window">): string {
  return `window ${set}/${window}`;
}

/** Examples that share a document or a window, directly or through others; each group strongest first. */
function groupsOf(examples: readonly Example[]): Example[][] {
  const parent = examples.map((_, i) => i);
  const root = (i: number): number => {
    while (parent[i] !== i) {
      parent[i] = parent[parent[i]];
      i = parent[i];
    }
    return i;
  };
  const seen = new Map<string, number>();
  examples.forEach((example, i) => {
    for (const key of [documentOf(example), windowOf(example)]) {
      const other = seen.get(key);
      if (other === undefined) seen.set(key, i);
      else parent[root(i)] = root(other);
    }
  });
  const groups = new Map<number, Example[]>();
  examples.forEach((example, i) => {
    const group = groups.get(root(i));
    if (group === undefined) groups.set(root(i), [example]);
    else group.push(example);
  });
  return [...groups.values()].map((group) => group.sort(strongestFirst));
}

function strongestFirst(a: Example, b: Example): number {
  return b.value - a.value || a.rank - b.rank;
}

/** At most `n`, at equal steps over the sorted list, its first and last included. */
function evenly(examples: readonly Example[], n: number): Example[] {
  const sorted = [...examples].sort(strongestFirst);
  if (sorted.length <= n) return sorted;
  if (n === 1) return sorted.slice(0, 1);
  return Array.from({ length: n }, (_, i) => sorted[Math.round((i * (sorted.length - 1)) / (n - 1))]);
}

/** The tokens around an example's own, at most `before` and `after` of them. */
export function trimmed(example: Example, before: number, after: number): Example {
  const from = Math.max(0, example.at - before);
  const to = Math.min(example.tokens.length, example.at + after + 1);
  return {
    ...example,
    at: example.at - from,
    tokens: example.tokens.slice(from, to),
    acts: example.acts.slice(from, to),
  };
}
