/** Everything about one latent of an index: the rows of each table that are its own. */
import type { IndexManifest } from "../../../src/dashboard/manifest.ts";
import type { SiteIndex } from "../../../src/dashboard/site.ts";
import type { TableName } from "../../../src/dashboard/tables.ts";
import type { Row } from "./parquet.ts";
import { readRows } from "./reader.ts";
import { dataUrl, loadManifest, tableFile } from "./site.ts";

export interface Example {
  readonly rank: number;
  /** −1: among the largest; else the interval of (0, max] it was sampled from */
  readonly interval: number;
  readonly value: number;
  readonly document: number;
  readonly window: number;
  readonly position: number;
  readonly role: number;
  readonly source: number;
  readonly at: number;
  readonly tokens: readonly string[];
  readonly acts: readonly number[];
}

export interface RankedToken {
  readonly side: "top" | "bottom";
  readonly token_id: number;
  readonly token: string;
  readonly value: number;
}

export interface Neighbour {
  readonly kind: "decoder" | "firing";
  readonly other: number;
  readonly value: number;
  readonly cosine: number | null;
  readonly n_both: number | null;
  readonly jaccard: number | null;
}

export interface Split {
  readonly kind: "role" | "source" | "position";
  readonly class: number;
  readonly n_active: number;
  readonly mean_act: number;
}

export interface Histograms {
  readonly activations: readonly number[];
  readonly logits: readonly number[] | null;
  readonly intervals: readonly number[];
}

/** A row of explanations.parquet, of which the page shows this much. */
export interface Explanation {
  readonly method: string;
  readonly model: string;
  readonly judge: string | null;
  readonly explanation: string | null;
  readonly failure: string | null;
  readonly [number: string]: unknown;
}

export interface LatentDetail {
  readonly manifest: IndexManifest;
  /** its row of latents.parquet by the names of tables.ts; NaN for null, booleans 0 and 1 */
  readonly numbers: Readonly<Record<string, number>>;
  /** baseline label; "": none */
  readonly label: string;
  readonly labelKind: string;
  readonly histograms: Histograms | null;
  readonly examples: readonly Example[];
  readonly logits: readonly RankedToken[];
  readonly neighbours: readonly Neighbour[];
  readonly splits: readonly Split[];
  readonly explanations: readonly Explanation[];
}

/** Read together, and together only: a latent has a few dozen rows. @throws {Error} a file cannot be read, or lacks the latent */
export async function loadLatent(index: SiteIndex, latent: number): Promise<LatentDetail> {
  const manifest = await loadManifest(index);
  const rows = <T>(table: TableName) =>
    readRows(tableFile(index, manifest, table), latent) as Promise<readonly Row[]> as Promise<readonly T[]>;
  const [[row], histograms, examples, logits, neighbours, splits, explanations] = await Promise.all([
    rows<Row>("latents"),
    rows<Histograms>("histograms"),
    rows<Example>("examples"),
    rows<RankedToken>("logits"),
    rows<Neighbour>("neighbours"),
    rows<Split>("splits"),
    index.explanations
      ? (readRows({ url: dataUrl(`${index.path}/explanations.parquet`) }, latent) as Promise<
          readonly unknown[]
        >)
      : [],
  ]);
  if (row === undefined) throw new Error(`${index.path}/latents.parquet has no latent ${latent}`);
  return {
    manifest,
    numbers: Object.fromEntries(
      Object.entries(row).flatMap(([name, value]) =>
        typeof value === "string" ? [] : [[name, value === null ? Number.NaN : Number(value)]],
      ),
    ),
    label: String(row.label ?? ""),
    labelKind: String(row.label_kind ?? ""),
    histograms: histograms[0] ?? null,
    examples,
    logits,
    neighbours,
    splits,
    explanations: explanations as readonly Explanation[],
  };
}

/** What it is called: its first explanation, else its label; "" where there is neither. */
export function nameOfLatent({ label, explanations }: LatentDetail): string {
  return explanations.find(({ explanation }) => explanation)?.explanation ?? label;
}
