/**
 * Whether a latent is known to be silent on a piece of a window: what makes a context a negative. An example of another
 * latent shows that latent's activations only, so an index can prove silence in one way: where it shows all of a latent's
 * activations. For others the activation store is asked (`store-silence.ts`), or the chance of being wrong is stated.
 */
import { type Example, windowOf } from "./examples.ts";

/** A piece of the indexed tokens: positions [from, to) of a window of a set. */
export interface Piece {
  readonly set: number;
  readonly window: number;
  readonly from: number;
  readonly to: number;
}

export type Silence = "silent" | "fires" | "unknown";

/** What is known of `latent` on a piece. */
export type SilenceOf = (latent: number, piece: Piece) => Silence;

/** Where an example's tokens stand. */
export function pieceOf({ set, window, position, at, tokens }: Example): Piece {
  return { set, window, from: position - at, to: position - at + tokens.length };
}

/**
 * What an index knows: a latent fires on the positions that its examples show, and if these are as many as it fires on in
 * all (`nActive`), it is silent everywhere else.
 */
export function silenceByIndex(
  examples: ReadonlyMap<number, readonly Example[]>,
  nActive: (latent: number) => number,
): SilenceOf {
  const known = new Map<number, { fires: Map<string, Set<number>>; isComplete: boolean }>();
  for (const [latent, its] of examples) {
    const fires = new Map<string, Set<number>>();
    for (const example of its) {
      const { from } = pieceOf(example);
      const positions = fires.get(windowOf(example)) ?? new Set();
      fires.set(windowOf(example), positions);
      example.acts.forEach((act, t) => {
        if (act > 0) positions.add(from + t);
      });
    }
    const nKnown = [...fires.values()].reduce((n, { size }) => n + size, 0);
    known.set(latent, { fires, isComplete: nKnown === nActive(latent) });
  }
  return (latent, piece) => {
    const { from, to } = piece;
    const its = known.get(latent);
    if (its === undefined) return nActive(latent) === 0 ? "silent" : "unknown";
    for (const position of its.fires.get(windowOf(piece)) ?? [])
      if (position >= from && position < to) return "fires";
    return its.isComplete ? "silent" : "unknown";
  };
}

/** The first that knows. */
export function firstThatKnows(...sources: readonly SilenceOf[]): SilenceOf {
  return (latent, piece) => {
    for (const source of sources) {
      const found = source(latent, piece);
      if (found !== "unknown") return found;
    }
    return "unknown";
  };
}

/** Chance that a latent of this density fires somewhere among n tokens, were they drawn at random. */
export function chanceOfFiring(density: number, nTokens: number): number {
  return 1 - (1 - density) ** nTokens;
}
