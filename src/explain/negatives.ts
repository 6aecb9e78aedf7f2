/**
 * Contexts in which a latent does not fire, to test its explanation with. Three kinds, the hard ones first; all are
 * examples of other latents, so that all are text in which something fires.
 *
 *   hard      a latent near by decoder row fires there: the explanation must tell the two apart
 *   matched   its token is one on which the latent fires elsewhere: a description of the token alone is not enough
 *   random    an example of a latent drawn at random
 *
 * Hard and matched negatives are taken only where silence is proved, for there the latent is likelier to fire than
 * elsewhere. Random ones are proved, or, where nothing can prove them, unproved: then the chance that the latent fires
 * among so many tokens, at its density, is stated, and above {@link MAX_ERROR} none are taken.
 */
import { Philox } from "../random/philox.ts";
import { documentOf, type Example, windowOf } from "./examples.ts";
import { chanceOfFiring, pieceOf, type SilenceOf } from "./silence.ts";

export type NegativeKind = "hard" | "matched" | "random";

export interface Negative {
  readonly kind: NegativeKind;
  readonly example: Example;
  /** chance that the latent fires in it after all; 0: proved that it does not */
  readonly error: number;
}

export type Candidates = Readonly<Record<NegativeKind, readonly Example[]>>;

/** An unproved negative is not taken if it is wrong with more than this chance. */
export const MAX_ERROR = 0.05;
/** Share of the negatives that are hard, and matched, as far as there are such. */
const SHARE: readonly (readonly [NegativeKind, number])[] = [
  ["hard", 0.5],
  ["matched", 0.25],
  ["random", 1],
];

export const NEGATIVES_DEFINITION =
  "Contexts from examples of other latents, one a document, none of a document or window that the explaining model saw: up " +
  "to half hard (a decoder neighbour fires in it), up to a quarter matched (around a token on which the latent fires " +
  "elsewhere), the rest of latents drawn at random. Hard and matched ones are proved: the latent's activations in the " +
  "index are all it has, or the stored activations of these very tokens were encoded again. Random ones are proved too, or " +
  `counted with the chance 1 − (1 − density)^tokens of being wrong, at most ${MAX_ERROR}; negative_error is the mean.`;

export interface NegativeOptions {
  readonly latent: number;
  readonly density: number;
  readonly n: number;
  readonly silence: SilenceOf;
}

/** At most `n`, fewer if there are no more; in order of kind, of each kind in the order given. */
export function chooseNegatives(candidates: Candidates, options: NegativeOptions): Negative[] {
  const { latent, density, n, silence } = options;
  const taken = new Places([]);
  const chosen: Negative[] = [];
  for (const [kind, share] of SHARE) {
    const room = Math.min(n, chosen.length + Math.floor(share * n));
    for (const example of candidates[kind]) {
      if (chosen.length >= room) break;
      if (taken.has(example)) continue;
      const found = silence(latent, pieceOf(example));
      if (found === "fires" || (found === "unknown" && kind !== "random")) continue;
      const error = found === "silent" ? 0 : chanceOfFiring(density, example.tokens.length);
      if (error > MAX_ERROR) continue;
      taken.add(example);
      chosen.push({ kind, example, error });
    }
  }
  return chosen;
}

/**
 * At most `n` of the examples, in an order drawn by (seed, purpose), one a document and window, none of those that are
 * `taken`.
 */
export function drawCandidates(
  examples: readonly Example[],
  options: {
    readonly n: number;
    readonly seed: number;
    readonly purpose: string;
    readonly taken: readonly Example[];
  },
): Example[] {
  const taken = new Places(options.taken);
  const drawn: Example[] = [];
  for (const i of new Philox(options.seed, options.purpose).permutation(examples.length)) {
    if (drawn.length >= options.n) break;
    if (taken.has(examples[i])) continue;
    taken.add(examples[i]);
    drawn.push(examples[i]);
  }
  return drawn;
}

/** Documents and windows that are used already. */
class Places {
  readonly #keys = new Set<string>();

  constructor(examples: readonly Example[]) {
    for (const example of examples) this.add(example);
  }
  has(example: Example): boolean {
    return this.#keys.has(documentOf(example)) || this.#keys.has(windowOf(example));
  }
  add(example: Example): void {
    this.#keys.add(documentOf(example)).add(windowOf(example));
  }
}
