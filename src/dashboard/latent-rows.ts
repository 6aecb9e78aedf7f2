/** What is known of a latent, as rows of the index's tables. The one place where values meet their columns. */
import type { Sae } from "../sae/sae.ts";
import type { Cell, Database } from "./database.ts";
import type { LatentActs } from "./entries/sorted-block.ts";
import type { Example } from "./examples/choose-examples.ts";
import type { Label } from "./labels/labels.ts";
import type { Drift, WeightScalars } from "./latent-weights.ts";
import type { LatentLogits } from "./logits/logits.ts";
import type { IndexManifest } from "./manifest.ts";
import type { FiringNeighbour } from "./neighbours/firing-together.ts";
import type { LatentStatistics } from "./statistics/latent-statistics.ts";
import { holdTexts, TableWriter } from "./table-writer.ts";
import { TABLES, type TableName } from "./tables.ts";
import { NOT_INDEXED, type TokenTable } from "./tokens/token-table.ts";

/** What is known of all latents before their activations are looked at. */
export interface KnownLatents {
  readonly sae: Sae;
  readonly weights: WeightScalars;
  readonly drift: Drift | null;
  readonly baseDensity: Float64Array | null;
  readonly widths: readonly number[];
  /** null: not known */
  readonly training: { readonly dead: Uint8Array | null; readonly nResampled: Uint32Array | null } | null;
  readonly table: TokenTable;
  /** text of a token */
  readonly textOf: (tokenId: number) => string;
  readonly examples: IndexManifest["options"];
}

/** All of one latent. */
export interface LatentFacts {
  readonly acts: LatentActs;
  readonly statistics: LatentStatistics;
  readonly examples: readonly Example[];
  readonly logits: LatentLogits | null;
  readonly label: Label;
  /** [NEIGHBOURS] each; −1 where there is none */
  readonly decoder: { readonly index: Int32Array; readonly cosine: Float64Array };
  readonly firing: readonly FiringNeighbour[];
}

/** Rows by column name, as the tables spell them. */
type Row = Readonly<Record<string, Cell>>;

export class LatentRows {
  readonly #database: Database;
  readonly #known: KnownLatents;
  readonly #writers: Readonly<Record<TableName, TableWriter>>;
  /** texts of the tokens met so far, and the place of each token's, counted from 1 */
  readonly #texts: string[] = [];
  readonly #places = new Map<number, number>();

  private constructor(
    database: Database,
    known: KnownLatents,
    writers: Readonly<Record<TableName, TableWriter>>,
  ) {
    this.#database = database;
    this.#known = known;
    this.#writers = writers;
  }

  static async open(database: Database, known: KnownLatents, partValues: number): Promise<LatentRows> {
    const writers: Partial<Record<TableName, TableWriter>> = {};
    for (const name of Object.keys(TABLES) as TableName[])
      writers[name] = await TableWriter.open(database, name, TABLES[name], partValues);
    return new LatentRows(database, known, writers as Record<TableName, TableWriter>);
  }

  /** Latents ascending. */
  async add(facts: LatentFacts): Promise<void> {
    const { latent } = facts.acts;
    await this.#write("latents", { latent, ...this.#scalars(facts) });
    await this.#write("histograms", {
      latent,
      activations: facts.statistics.histogram,
      logits: facts.logits?.histogram ?? null,
      intervals: facts.statistics.intervals,
    });
    for (const [rank, example] of facts.examples.entries())
      await this.#write("examples", { latent, rank, ...this.#example(facts.acts, example) });
    for (const side of ["top", "bottom"] as const) {
      const { ids, values } = facts.logits?.[side] ?? NOTHING;
      for (const [rank, id] of ids.entries())
        await this.#write("logits", {
          latent,
          side,
          rank,
          token_id: id,
          token: this.#texts[this.#placeOf(id) - 1],
          value: values[rank],
        });
    }
    for (const [rank, other] of facts.decoder.index.entries())
      if (other >= 0) {
        const value = facts.decoder.cosine[rank];
        await this.#write("neighbours", { latent, kind: "decoder", rank, other, value, ...ONLY_FIRING });
      }
    for (const [rank, { other, pearson, cosine, nBoth, jaccard }] of facts.firing.entries())
      await this.#write("neighbours", {
        latent,
        kind: "firing",
        rank,
        other,
        value: pearson,
        cosine,
        n_both: nBoth,
        jaccard,
      });
    for (const split of facts.statistics.splits)
      await this.#write("splits", {
        latent,
        kind: split.kind,
        class: split.class,
        n_active: split.nActive,
        mean_act: split.meanAct,
      });
  }

  /** Writes the files. Returns the rows of each. */
  async finish(onTable: (done: number, total: number) => void): Promise<Record<TableName, number>> {
    const names = Object.keys(TABLES) as TableName[];
    const nRows: Partial<Record<TableName, number>> = {};
    await holdTexts(this.#database, this.#texts);
    for (const [i, name] of names.entries()) {
      await this.#writers[name].finish();
      nRows[name] = this.#writers[name].nRows;
      onTable(i + 1, names.length);
    }
    return nRows as Record<TableName, number>;
  }

  #scalars({ acts: { latent }, statistics, logits, label }: LatentFacts): Row {
    const { sae, weights, drift, baseDensity, widths, training } = this.#known;
    return {
      level: widths.findIndex((width) => latent < width),
      n_active: statistics.nActive,
      n_documents: statistics.nDocuments,
      density: statistics.density,
      min_act: statistics.minAct,
      max_act: statistics.maxAct,
      mean_act: statistics.meanAct,
      decoder_norm: weights.decoderNorm[latent],
      encoder_norm: weights.encoderNorm[latent],
      encoder_decoder_cosine: orNull(weights.encoderDecoderCosine[latent]),
      b_enc: sae.weights.bEnc[latent],
      threshold: sae.threshold?.[latent] ?? null,
      dead_in_training: training?.dead == null ? null : training.dead[latent] === 1,
      n_resampled: training?.nResampled?.[latent] ?? null,
      base_density: baseDensity?.[latent] ?? null,
      decoder_drift_cosine: orNull(drift?.decoderCosine[latent]),
      encoder_drift_cosine: orNull(drift?.encoderCosine[latent]),
      logit_min: logits?.min ?? null,
      logit_max: logits?.max ?? null,
      logit_mean: logits?.mean ?? null,
      logit_std: logits?.std ?? null,
      label: label.text,
      label_kind: label.kind,
      label_precision: label.precision,
      label_recall: label.recall,
    };
  }

  #example({ tokens, values }: LatentActs, { entry, interval }: Example): Row {
    const { table, examples } = this.#known;
    const row = tokens[entry];
    const { at, tokenIds, rows } = table.around(row, examples.tokensBefore, examples.tokensAfter);
    return {
      interval,
      value: values[entry],
      document: table.documentNumber(row),
      window: table.windowNumber(row),
      position: table.position[row],
      role: table.role[row],
      source: table.source[row],
      at,
      tokens: tokenIds.map((id) => this.#placeOf(id)),
      acts: actsAround(tokens, values, entry, rows, at),
    };
  }

  /** Place of a token's text in the list of texts, counted from 1. */
  #placeOf(tokenId: number): number {
    let place = this.#places.get(tokenId);
    if (place === undefined) {
      place = this.#texts.push(this.#known.textOf(tokenId));
      this.#places.set(tokenId, place);
    }
    return place;
  }

  async #write(name: TableName, row: Row): Promise<void> {
    await this.#writers[name].add(TABLES[name].columns.map((column) => row[column.name]));
  }
}

const NOTHING = { ids: new Uint32Array(0), values: new Float32Array(0) };
const ONLY_FIRING = { cosine: null, n_both: null, jaccard: null };

/** Activations at the rows around an activation: those of the latent's that lie there, 0 elsewhere. */
function actsAround(
  tokens: Uint32Array,
  values: Float32Array,
  entry: number,
  rows: Uint32Array,
  at: number,
): Float32Array {
  const acts = new Float32Array(rows.length);
  for (let place = at, e = entry; place >= 0; place--) {
    if (rows[place] === NOT_INDEXED) continue;
    while (e >= 0 && tokens[e] > rows[place]) e--;
    if (e < 0) break;
    if (tokens[e] === rows[place]) acts[place] = values[e];
  }
  for (let place = at, e = entry; place < rows.length; place++) {
    if (rows[place] === NOT_INDEXED) continue;
    while (e < tokens.length && tokens[e] < rows[place]) e++;
    if (e === tokens.length) break;
    if (tokens[e] === rows[place]) acts[place] = values[e];
  }
  return acts;
}

function orNull(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}
