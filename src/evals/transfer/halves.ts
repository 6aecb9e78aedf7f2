/**
 * Two halves of some tokens: a fix is fitted on one and judged on the other, so that it cannot flatter itself. Documents
 * stay whole, because tokens of one document are alike; where there are few documents, windows do.
 */
import type { ActivationRows } from "../../activations/activations.ts";
import { Philox } from "../../random/philox.ts";

/** Fewer documents than this are divided by window. */
const FEWEST_DOCUMENTS = 8;

/** Which tokens a fix is fitted on, and which it is measured on. */
export interface Halves {
  /** what stays whole */
  readonly by: "document" | "window";
  readonly definition: string;
  /** Rows of a chunk by the half they belong to, ascending. */
  split(rows: Labels): { fit: number[]; held: number[] };
}

type Labels = Pick<ActivationRows, "nRows" | "document" | "window">;

/**
 * Half of the tokens each, nearly: documents from the longest on, equal ones in seeded order, each to the half that has
 * fewer tokens. Null: all tokens are of one window.
 */
export async function halvesOf(
  chunks: AsyncIterable<Labels> | Iterable<Labels>,
  seed: number,
): Promise<Halves | null> {
  const tokens = { document: new Map<number, number>(), window: new Map<number, number>() };
  for await (const rows of chunks)
    for (const by of ["document", "window"] as const)
      for (let row = 0; row < rows.nRows; row++)
        tokens[by].set(rows[by][row], (tokens[by].get(rows[by][row]) ?? 0) + 1);
  const by = tokens.document.size >= FEWEST_DOCUMENTS ? "document" : "window";
  const sizes = tokens[by];
  if (sizes.size < 2) return null;
  const fit = new Set<number>();
  const ids = [...sizes.keys()].sort((a, b) => a - b);
  const drawn = Array.from(new Philox(seed, "transfer/halves").permutation(ids.length));
  const order = drawn.sort((a, b) => (sizes.get(ids[b]) ?? 0) - (sizes.get(ids[a]) ?? 0)); // stable
  let surplus = 0; // tokens of the fit half − tokens of the other
  for (const i of order) {
    const isFit = surplus <= 0;
    if (isFit) fit.add(ids[i]);
    surplus += (isFit ? 1 : -1) * (sizes.get(ids[i]) ?? 0);
  }
  return {
    by,
    definition: `Fitted on one half of the tokens and measured on the other; a ${by} is in one of them (seed ${seed}).`,
    split(rows) {
      const halves = { fit: [] as number[], held: [] as number[] };
      for (let row = 0; row < rows.nRows; row++) halves[fit.has(rows[by][row]) ? "fit" : "held"].push(row);
      return halves;
    },
  };
}
