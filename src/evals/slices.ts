/**
 * The tokens of a set divided by where they come from: source, role, position, class of token, document. A slice is sums of
 * tokens like the whole, so its VE is about its own mean. A way that nothing is known about is left out.
 */
import type { ActivationRows } from "../activations/activations.ts";
import { ROLES } from "../corpus/windows.ts";
import { type DocumentSums, MAX_DOCUMENTS } from "./documents.ts";
import { METRICS } from "./metrics.ts";
import { quantile } from "./quantile.ts";
import type { Slice, SliceGroup } from "./result.ts";
import { TOKEN_CLASSES, TOKEN_CLASSES_DEFINITION } from "./token-classes.ts";
import { TokenSums } from "./token-sums.ts";

/** What is known of tokens beside what the store records. */
export interface TokenLabels {
  /** name of the source of a document of the set; null: not known */
  readonly sourceOf?: (document: number) => string | null;
  /** class of a token, see TOKEN_CLASSES; null: not known */
  readonly classOf?: (tokenId: number) => string | null;
}

/** Labels of a store's or array's rows that mean something. */
export interface KnownLabels {
  readonly tokenIds: boolean;
  readonly position: boolean;
  readonly document: boolean;
  readonly role: boolean;
}

interface Way {
  readonly by: SliceGroup["by"];
  readonly definition: string;
  /** null: not known */
  readonly nameOf: (rows: ActivationRows, row: number) => string | null;
  /** whether the tokens of a run may differ in it */
  readonly changesInRuns?: boolean;
  /** slices in the order of their names here; others by size */
  readonly order?: readonly string[];
}

const UNKNOWN = "unknown";
const N_WORST_DOCUMENTS = 20;
const PERCENTILES = [0, 10, 25, 50, 75, 90, 100] as const;
const VE = "VE of a slice is about the slice's own mean.";

const DOCUMENT_DEFINITION =
  `By document, under its number in the set: the ${N_WORST_DOCUMENTS} with the largest squared error, worst first; ` +
  `and quantiles of VE over all documents that have one. ${VE} Left out beyond ${MAX_DOCUMENTS} documents.`;

/** Positions in buckets that grow by four: 0–3, 4–15, 16–63, … */
export const POSITION_BUCKETS = Array.from(
  { length: 16 },
  (_, b) => `${b === 0 ? 0 : 4 ** b}–${4 ** (b + 1) - 1}`,
);

/** Which of POSITION_BUCKETS. */
export function bucketOf(position: number): number {
  return position < 4 ? 0 : (31 - Math.clz32(position)) >> 1;
}

export function positionBucket(position: number): string {
  return POSITION_BUCKETS[bucketOf(position)];
}

function waysOf(known: KnownLabels, { sourceOf, classOf }: TokenLabels): Way[] {
  const ways: Way[] = [];
  if (sourceOf && known.document)
    ways.push({
      by: "source",
      definition: `By the source that the document comes from. ${VE}`,
      nameOf: ({ document }, row) => sourceOf(document[row]),
    });
  if (known.role)
    ways.push({
      by: "role",
      definition: `By who speaks: plain text, a role of the chat, or the template around it. ${VE}`,
      nameOf: ({ role }, row) => ROLES[role[row]] ?? null,
      order: ROLES,
    });
  if (known.position)
    ways.push({
      by: "position",
      definition: `By position in the window, 0 being its first token. ${VE}`,
      nameOf: ({ position }, row) => positionBucket(position[row]),
      order: POSITION_BUCKETS,
    });
  if (classOf && known.tokenIds)
    ways.push({
      by: "tokenClass",
      definition: `${TOKEN_CLASSES_DEFINITION} ${VE}`,
      nameOf: ({ tokenIds }, row) => classOf(tokenIds[row]),
      changesInRuns: true,
      order: TOKEN_CLASSES,
    });
  return ways;
}

/** What each way of dividing tokens means. */
export function sliceDefinitions(): Pick<SliceGroup, "by" | "definition">[] {
  const known = { tokenIds: true, position: true, document: true, role: true };
  const ways = waysOf(known, { sourceOf: () => null, classOf: () => null });
  return [
    ...ways.map(({ by, definition }) => ({ by, definition })),
    { by: "document", definition: DOCUMENT_DEFINITION },
  ];
}

/** Consecutive rows of one document, role and bucket of positions: summed once, then added to each slice they are in. */
export interface Run {
  /** its first row */
  readonly first: number;
  readonly sums: TokenSums;
}

/** The runs of some rows, with their sums. */
export function runsOf(rows: ActivationRows, quantities: Float64Array, origin: Float64Array): Run[] {
  const { document, role, position } = rows;
  const runs: Run[] = [];
  for (let row = 0; row < rows.nRows; row++) {
    const isNew =
      row === 0 ||
      document[row] !== document[row - 1] ||
      role[row] !== role[row - 1] ||
      bucketOf(position[row]) !== bucketOf(position[row - 1]);
    if (isNew) runs.push({ first: row, sums: new TokenSums(origin) });
    runs[runs.length - 1].sums.addToken(rows.activations, quantities, row);
  }
  return runs;
}

/** Sums of the tokens of each slice, but documents, which have sums of their own. */
export class SliceSums {
  readonly #origin: Float64Array;
  readonly #known: KnownLabels;
  readonly #labels: TokenLabels;
  readonly #ways: readonly { readonly way: Way; readonly slices: Map<string, TokenSums> }[];

  constructor(origin: Float64Array, known: KnownLabels, labels: TokenLabels) {
    this.#origin = origin;
    this.#known = known;
    this.#labels = labels;
    this.#ways = waysOf(known, labels).map((way) => ({ way, slices: new Map() }));
  }

  /** Adds rows with their quantities [nRows, N_QUANTITIES], and with the sums of their runs. */
  add(rows: ActivationRows, quantities: Float64Array, runs: readonly Run[]): void {
    for (const { way, slices } of this.#ways) {
      const sumsAt = (row: number) => {
        const name = way.nameOf(rows, row) ?? UNKNOWN;
        let sums = slices.get(name);
        if (sums === undefined) {
          sums = new TokenSums(this.#origin);
          slices.set(name, sums);
        }
        return sums;
      };
      if (way.changesInRuns)
        for (let row = 0; row < rows.nRows; row++) sumsAt(row).addToken(rows.activations, quantities, row);
      else for (const { first, sums } of runs) sumsAt(first).merge(sums);
    }
  }

  /** `sse`: Σ‖x−x̂‖² of the set. */
  groups(sse: number, documents: DocumentSums): SliceGroup[] {
    const groups = this.#ways
      .filter(({ slices }) => [...slices.keys()].some((name) => name !== UNKNOWN))
      .map(({ way, slices }): SliceGroup => {
        const rank = (name: string) => {
          const at = way.order?.indexOf(name) ?? -1;
          return at < 0 ? Number.MAX_SAFE_INTEGER : at;
        };
        const listed = [...slices].map(([name, sums]) => sliceOf(name, sums, sse));
        listed.sort(
          (a, b) => rank(a.name) - rank(b.name) || b.nTokens - a.nTokens || (a.name < b.name ? -1 : 1),
        );
        return { by: way.by, definition: way.definition, slices: listed };
      });
    const byDocument =
      this.#known.document && documents.nDocuments > 1 && !documents.areShared
        ? [documentGroup(documents, sse, this.#labels)]
        : [];
    return [...groups, ...byDocument];
  }
}

function sliceOf(name: string, sums: TokenSums, sse: number): Slice {
  return {
    name,
    nTokens: sums.n,
    ve: METRICS.ve.of(sums),
    l0: sums.get("active") / sums.n,
    mse: sums.get("sse") / sums.n,
    sseShare: sse > 0 ? sums.get("sse") / sse : 0,
  };
}

function documentGroup(documents: DocumentSums, sse: number, { sourceOf }: TokenLabels): SliceGroup {
  const worst = [...documents.parts].sort(
    ([a, one], [b, other]) => other.get("sse") - one.get("sse") || a - b,
  );
  const nameOf = (document: number) => {
    const source = sourceOf?.(document) ?? null;
    return source === null ? String(document) : `${document} (${source})`;
  };
  const ves = Float64Array.from(documents.parts.flatMap(([, sums]) => METRICS.ve.of(sums) ?? [])).sort();
  return {
    by: "document",
    definition: DOCUMENT_DEFINITION,
    slices: worst.slice(0, N_WORST_DOCUMENTS).map(([document, sums]) => sliceOf(nameOf(document), sums, sse)),
    quantiles:
      ves.length === 0
        ? []
        : PERCENTILES.map((percentile) => ({ percentile, ve: quantile(ves, percentile / 100) })),
  };
}
