/**
 * One latent as all of Neuronpedia's formats tell it, read from the tables of an index: the same facts, before any format's
 * own spelling. Values are rounded to 5 decimals and texts made safe here, once.
 */
import { DataError, FormatError } from "../../errors.ts";
import type { ExampleRow, HistogramRow } from "../index-rows.ts";
import type { IndexManifest } from "../manifest.ts";
import { exampleProblem, histogramProblem } from "../row-problems.ts";
import { HISTOGRAM_BINS, INTERVALS } from "../tables.ts";
import { binCentres, round5, safeText } from "./values.ts";

/** The tables of an open index, as `openIndex` gives them. */
export interface IndexTables {
  readonly manifest: IndexManifest;
  rows(sql: string, values?: readonly number[]): Promise<Record<string, unknown>[]>;
}

export interface LatentRecord {
  readonly latent: number;
  /** of the indexed tokens, not rounded */
  readonly density: number;
  /** 0: it never fires */
  readonly maxAct: number;
  readonly activationHistogram: Bars;
  /** empty: the index has no logits */
  readonly logitHistogram: Bars;
  /** largest first; `bottom`: smallest first */
  readonly top: readonly TokenLogit[];
  readonly bottom: readonly TokenLogit[];
  /** latents that fire with it, over all indexed tokens */
  readonly correlated: readonly {
    readonly latent: number;
    readonly pearson: number;
    readonly cosine: number;
  }[];
  /** latents of the nearest decoder rows */
  readonly similar: readonly { readonly latent: number; readonly cosine: number }[];
  /** largest components of its decoder row; empty without weights */
  readonly aligned: readonly AlignedDimension[];
  /** those of the largest activations first, then from the highest interval down */
  readonly examples: readonly LatentExample[];
  /** by language models; those without a text left out */
  readonly explanations: readonly LatentExplanation[];
}

export interface LatentExplanation {
  readonly text: string;
  /** what the model was shown */
  readonly method: string;
  readonly model: string;
  /** balanced accuracies; null: not scored */
  readonly detection: number | null;
  readonly fuzzing: number | null;
}

/** A histogram: bin centres and counts. */
export interface Bars {
  readonly values: readonly number[];
  readonly heights: readonly number[];
}

export interface TokenLogit {
  readonly token: string;
  readonly value: number;
}

export interface AlignedDimension {
  readonly dimension: number;
  readonly value: number;
  /** |value| / Σ|row| */
  readonly share: number;
}

export interface LatentExample {
  /** within the latent, in the index's order */
  readonly rank: number;
  /** null: among the largest; else the interval (min, max] of activations it was sampled from, and the share of all tokens in it */
  readonly interval: { readonly min: number; readonly max: number; readonly share: number } | null;
  readonly tokens: readonly string[];
  readonly values: readonly number[];
  /** the token it was chosen for */
  readonly at: number;
}

/** Components of a decoder row that are told, and latents it is correlated with: as many as SAEDashboard tells. */
const TOLD = 3;
/** Changes whenever the explanations do, which no manifest of the index names. */
export async function explanationsPrint(index: IndexTables): Promise<string> {
  const [row] = await index.rows(
    `SELECT concat(count(*), ' ', bit_xor(hash(latent, "method", "model", explanation, detection_accuracy, fuzzing_accuracy))) AS print FROM explanations`,
  );
  return row.print as string;
}

/** Latents read at a time: an eighth of a row group. */
const BLOCK = 256;

/** A decoder's rows, [dSae, dIn]. */
export interface DecoderRows {
  readonly dIn: number;
  readonly wDec: Float32Array;
}

/**
 * Latents `from` … `to` − 1 in order, a block of them in memory at a time.
 * @throws {FormatError} the tables do not hold what the manifest says
 */
export async function* readLatents(
  index: IndexTables,
  { from = 0, to = index.manifest.sae.dSae, decoder = null as DecoderRows | null } = {},
): AsyncGenerator<LatentRecord> {
  const { dSae, dIn } = index.manifest.sae;
  if (decoder !== null && (decoder.dIn !== dIn || decoder.wDec.length !== dSae * dIn))
    throw new DataError(`the decoder's rows are not those of the indexed SAE, ${dSae} × ${dIn}`);
  for (let start = from; start < to; start += BLOCK)
    yield* readBlock(index, start, Math.min(to, start + BLOCK), decoder);
}

async function* readBlock(
  index: IndexTables,
  from: number,
  to: number,
  decoder: DecoderRows | null,
): AsyncGenerator<LatentRecord> {
  const read = async (table: string, columns: string, order = "") => {
    const rows = await index.rows(
      `SELECT latent, ${columns} FROM "${table}" WHERE latent >= $1 AND latent < $2 ORDER BY latent${order}`,
      [from, to],
    );
    const byLatent = new Map<number, Record<string, unknown>[]>();
    for (const row of rows) {
      const latent = row.latent as number;
      const known = byLatent.get(latent);
      if (known === undefined) byLatent.set(latent, [row]);
      else known.push(row);
    }
    return byLatent;
  };
  const latents = await read("latents", "density, min_act, max_act, logit_min, logit_max");
  const histograms = await read("histograms", "activations, logits, intervals");
  const examples = await read("examples", `"rank", "interval", "at", tokens, acts`, `, "rank"`);
  const logits = await read("logits", `side, "rank", token, value`, `, side, "rank"`);
  const neighbours = await read("neighbours", `kind, "rank", other, value, cosine`, `, kind, "rank"`);
  const explanations = await read(
    "explanations",
    `"method", "model", explanation, detection_accuracy, fuzzing_accuracy`,
    `, "method", "model"`,
  );
  for (let latent = from; latent < to; latent++) {
    const [row] = latents.get(latent) ?? [];
    const [histogram] = histograms.get(latent) ?? [];
    if (row === undefined || histogram === undefined)
      throw new FormatError("the index's tables", `no row of latent ${latent}`, { hint: "Index it again." });
    const shown = (examples.get(latent) ?? []) as unknown as ExampleRow[];
    const problem =
      histogramProblem(histogram as unknown as HistogramRow) ??
      shown.map(exampleProblem).find((found) => found !== null);
    if (problem != null) throw new FormatError("the index's tables", problem, { hint: "Index it again." });
    const maxAct = (row.max_act as number | null) ?? 0;
    const near = neighbours.get(latent) ?? [];
    const side = (name: string): TokenLogit[] =>
      (logits.get(latent) ?? [])
        .filter((logit) => logit.side === name)
        .map(({ token, value }) => ({ token: safeText(token as string), value: round5(value as number) }));
    const counts = histogram.intervals as readonly number[];
    yield {
      latent,
      density: row.density as number,
      maxAct: round5(maxAct),
      activationHistogram: bars(row.min_act, row.max_act, histogram.activations),
      logitHistogram: bars(row.logit_min, row.logit_max, histogram.logits),
      top: side("top"),
      bottom: side("bottom"),
      correlated: near
        .filter(({ kind }) => kind === "firing")
        .slice(0, TOLD)
        .map(({ other, value, cosine }) => ({
          latent: other as number,
          pearson: round5(value as number),
          cosine: round5(cosine as number),
        })),
      similar: near
        .filter(({ kind }) => kind === "decoder")
        .map(({ other, value }) => ({ latent: other as number, cosine: round5(value as number) })),
      aligned: decoder === null ? [] : aligned(decoder, latent),
      examples: shown.map(({ rank, interval, tokens, acts, at }) => ({
        rank,
        interval: intervalOf(interval, maxAct, counts, index.manifest.data.nTokens),
        tokens: tokens.map(safeText),
        values: acts.map(round5),
        at,
      })),
      explanations: (explanations.get(latent) ?? [])
        .filter(({ explanation }) => explanation !== null)
        .map((explained) => ({
          text: safeText(explained.explanation as string),
          method: safeText(explained.method as string),
          model: safeText(explained.model as string),
          detection: explained.detection_accuracy as number | null,
          fuzzing: explained.fuzzing_accuracy as number | null,
        })),
    };
  }
}

function bars(min: unknown, max: unknown, heights: unknown): Bars {
  const counts = (heights ?? []) as readonly number[];
  if (counts.length === 0 || typeof min !== "number" || typeof max !== "number")
    return { values: [], heights: [] };
  return { values: binCentres(min, max, HISTOGRAM_BINS), heights: counts };
}

function intervalOf(
  interval: number,
  maxAct: number,
  counts: readonly number[],
  nTokens: number,
): LatentExample["interval"] {
  if (interval < 0) return null;
  return {
    min: round5((interval * maxAct) / INTERVALS),
    max: round5(((interval + 1) * maxAct) / INTERVALS),
    share: counts[interval] / nTokens,
  };
}

/** The largest components by sign, not by size, as SAEDashboard ranks them. */
function aligned({ dIn, wDec }: DecoderRows, latent: number): AlignedDimension[] {
  const row = wDec.subarray(latent * dIn, (latent + 1) * dIn);
  const sum = row.reduce((total, value) => total + Math.abs(value), 0);
  return Array.from(row, (value, dimension) => ({ dimension, value }))
    .sort((a, b) => b.value - a.value || a.dimension - b.dimension)
    .slice(0, TOLD)
    .map(({ dimension, value }) => ({
      dimension,
      value: round5(value),
      share: sum === 0 ? 0 : round5(Math.abs(value) / sum),
    }));
}
