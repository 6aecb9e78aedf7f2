/**
 * What is searched and sorted: the scalar columns of all latents of an index, and their explanations, in memory. Row i is
 * latent i.
 */
import type { SiteIndex } from "../../../src/dashboard/site.ts";
import type { TABLES } from "../../../src/dashboard/tables.ts";
import { Once } from "./once.ts";
import type { ColumnValues } from "./parquet.ts";
import { readColumns } from "./reader.ts";
import { dataUrl, findIndex, loadManifest, loadSite, tableFile } from "./site.ts";

/** Columns of latents.parquet that lists need; a latent's page reads its whole row. */
const NUMBERS = [
  "latent",
  "level",
  "n_active",
  "density",
  "max_act",
  "dead_in_training",
  "n_resampled",
  "base_density",
  "decoder_drift_cosine",
  "label_precision",
  "label_recall",
] as const satisfies readonly (typeof TABLES.latents.columns)[number]["name"][];
const TEXTS = ["label"];
type ListedNumber = (typeof NUMBERS)[number];

export interface Latents {
  readonly nLatents: number;
  /** by the names of tables.ts, `latent` included; NaN for null; booleans are 0 and 1 */
  readonly numbers: Readonly<Record<ListedNumber, Float64Array>>;
  /** baseline labels; "" where there is none */
  readonly label: readonly string[];
  /** by a language model, the first of each latent; "" where there is none; null: the index has none */
  readonly explanation: readonly string[] | null;
  /** balanced accuracy of that explanation by detection, NaN where it was not scored */
  readonly score: Float64Array | null;
}

const loaded = new Once<Latents>(async (id) => {
  const index = findIndex(await loadSite(), id);
  if (index === undefined) throw new Error(`there is no index ${id}`);
  return readLatents(index);
});

/** Read once an index. @throws {Error} a file cannot be read, or is not what its manifest says */
export const loadLatents = (index: SiteIndex): Promise<Latents> => loaded.get(index.id);

async function readLatents(index: SiteIndex): Promise<Latents> {
  const manifest = await loadManifest(index);
  const [{ nRows, columns }, explained] = await Promise.all([
    readColumns(tableFile(index, manifest, "latents"), [...NUMBERS, ...TEXTS]),
    index.explanations ? readExplanations(index, manifest.sae.dSae) : null,
  ]);
  const latent = columns.latent;
  if (nRows !== manifest.sae.dSae || !(latent instanceof Float64Array) || latent[nRows - 1] !== nRows - 1)
    throw new Error(
      `${index.path}/latents.parquet has ${nRows} rows; its manifest says ${manifest.sae.dSae} latents`,
    );
  const absent = new Float64Array(nRows).fill(Number.NaN);
  return {
    nLatents: nRows,
    numbers: Object.fromEntries(
      NUMBERS.map((name) => [name, numbersOf(columns[name]) ?? absent]),
    ) as Latents["numbers"],
    label: textsOf(columns.label, nRows),
    explanation: explained?.texts ?? null,
    score: explained?.scores ?? null,
  };
}

async function readExplanations(index: SiteIndex, nLatents: number) {
  const { nRows, columns } = await readColumns({ url: dataUrl(`${index.path}/explanations.parquet`) }, [
    "latent",
    "explanation",
    "detection_accuracy",
  ]);
  const latents = numbersOf(columns.latent);
  const said = textsOf(columns.explanation, nRows);
  const accuracy = numbersOf(columns.detection_accuracy);
  const texts = new Array<string>(nLatents).fill("");
  const scores = new Float64Array(nLatents).fill(Number.NaN);
  for (let row = 0; row < nRows; row++) {
    const latent = latents?.[row] ?? -1;
    if (said[row] === "" || texts[latent] !== "") continue;
    texts[latent] = said[row];
    scores[latent] = accuracy?.[row] ?? Number.NaN;
  }
  return { texts, scores };
}

const numbersOf = (column: ColumnValues | undefined) => (column instanceof Float64Array ? column : undefined);
const textsOf = (column: ColumnValues | undefined, nRows: number): readonly string[] =>
  Array.isArray(column) ? column : new Array<string>(nRows).fill("");

/** What a latent is called in lists: its explanation, else its label; "" where there is neither. */
export function nameOf(latents: Latents, latent: number): string {
  return latents.explanation?.[latent] || latents.label[latent] || "";
}
