/** Everything about one latent of an index: the rows of each table that are its own. */
import { EXPLANATIONS } from "../../../src/dashboard/explanations.ts";
import type {
  ExampleRow,
  HistogramRow,
  LogitRow,
  NeighbourRow,
  SplitRow,
} from "../../../src/dashboard/index-rows.ts";
import type { IndexManifest } from "../../../src/dashboard/manifest.ts";
import { exampleProblem, histogramProblem, rowProblem } from "../../../src/dashboard/row-problems.ts";
import type { SiteIndex } from "../../../src/dashboard/site.ts";
import { TABLES, type Table, type TableName } from "../../../src/dashboard/tables.ts";
import type { FileAddress, Row } from "./parquet.ts";
import { readRows } from "./reader.ts";
import { dataUrl, loadManifest, tableFile } from "./site.ts";

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
  readonly histograms: HistogramRow | null;
  readonly examples: readonly ExampleRow[];
  readonly logits: readonly LogitRow[];
  readonly neighbours: readonly NeighbourRow[];
  readonly splits: readonly SplitRow[];
  readonly explanations: readonly Explanation[];
}

/**
 * Read together, and together only: a latent has a few dozen rows.
 * @throws {Error} a file cannot be read, lacks the latent, or holds rows that no index has
 */
export async function loadLatent(index: SiteIndex, latent: number): Promise<LatentDetail> {
  const manifest = await loadManifest(index);
  const read = async <T>(file: FileAddress, table: Table): Promise<readonly T[]> => {
    const found = await readRows(file, latent);
    const problem = found.map((row) => rowProblem(table, row)).find((one) => one !== null);
    if (problem != null) throw new Error(`${index.path}/${problem}`);
    return found as readonly unknown[] as readonly T[];
  };
  const rows = <T>(table: TableName) => read<T>(tableFile(index, manifest, table), TABLES[table]);
  const [[row], histograms, examples, logits, neighbours, splits, explanations] = await Promise.all([
    rows<Row>("latents"),
    rows<HistogramRow>("histograms"),
    rows<ExampleRow>("examples"),
    rows<LogitRow>("logits"),
    rows<NeighbourRow>("neighbours"),
    rows<SplitRow>("splits"),
    index.explanations
      ? read<Explanation>({ url: dataUrl(`${index.path}/${EXPLANATIONS.file}`) }, EXPLANATIONS)
      : [],
  ]);
  if (row === undefined) throw new Error(`${index.path}/latents.parquet has no latent ${latent}`);
  const problem = [...histograms.map(histogramProblem), ...examples.map(exampleProblem)].find(
    (found) => found !== null,
  );
  if (problem !== undefined) throw new Error(`${index.path}: ${problem}`);
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
    explanations,
  };
}

/** What it is called: its first explanation, else its label; "" where there is neither. */
export function nameOfLatent({ label, explanations }: LatentDetail): string {
  return explanations.find(({ explanation }) => explanation)?.explanation ?? label;
}
