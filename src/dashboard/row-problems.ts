/**
 * What may be wrong with rows of an index that came from elsewhere: lists that do not go together, too many rows. Columns and
 * their types are checked when an index is opened; what stands in lists is known only when they are read. Safe in a browser.
 */
import type { ExampleRow, HistogramRow } from "./index-rows.ts";
import { HISTOGRAM_BINS, INTERVALS, type Table } from "./tables.ts";

/** Rows that one latent can have in one table: more than any index has. */
export const MOST_ROWS_OF_LATENT = 4096;
/** Tokens of an example: `at` counts them in a byte. */
const MOST_TOKENS = 256;

/** A value that is none of its column's: for readers that do not know the files' types. Null: none. */
export function rowProblem({ file, columns }: Table, row: Readonly<Record<string, unknown>>): string | null {
  for (const { name, type, nullable } of columns) {
    const value = row[name] ?? null;
    const fits =
      value === null
        ? nullable === true
        : type.endsWith("[]")
          ? Array.isArray(value)
          : typeof value === typeOf(type);
    if (!fits) return `${file}: "${name}" of latent ${row.latent} is no ${type}`;
  }
  return null;
}

function typeOf(type: string): string {
  if (type === "VARCHAR") return "string";
  return type === "BOOLEAN" ? "boolean" : "number";
}

/** Null: nothing. */
export function exampleProblem(
  row: Pick<ExampleRow, "latent" | "rank" | "at" | "tokens" | "acts">,
): string | null {
  const { latent, rank, at, tokens, acts } = row;
  const name = `example ${rank} of latent ${latent}`;
  if (!areAll(tokens, "string") || !areAll(acts, "number"))
    return `${name} has a token or an activation that is none`;
  if (tokens.length !== acts.length || tokens.length > MOST_TOKENS || at >= tokens.length)
    return `${name} has ${tokens.length} tokens, ${acts.length} activations, and its token is number ${at}`;
  return null;
}

/** Null: nothing. */
export function histogramProblem({ latent, activations, logits, intervals }: HistogramRow): string | null {
  const lists = [
    ["activations", activations, [0, HISTOGRAM_BINS]],
    ["logits", logits ?? [], [0, HISTOGRAM_BINS]],
    ["intervals", intervals, [0, INTERVALS]],
  ] as const;
  for (const [name, counts, lengths] of lists)
    if (!areAll(counts, "number") || !lengths.some((length) => length === counts.length))
      return `the histogram "${name}" of latent ${latent} is no list of ${lengths.at(-1)} counts`;
  return null;
}

function areAll(list: unknown, type: "string" | "number"): boolean {
  return Array.isArray(list) && list.every((item) => typeof item === type);
}
