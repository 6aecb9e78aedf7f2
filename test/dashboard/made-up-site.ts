/**
 * A site with made-up numbers: latent indexes of any size, a base, a comparison, explanations, and what a run measured.
 * Every number follows from its place (DuckDB's hash), so that tests can say what must be found. Among its words are texts
 * that would do harm if they were taken for markup.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Database } from "../../src/dashboard/database.ts";
import type { IndexedFile, IndexManifest, TokenClass } from "../../src/dashboard/manifest.ts";
import type { Site, SiteIndex, SiteLive } from "../../src/dashboard/site.ts";
import { HISTOGRAM_BINS, INTERVALS, TABLES, type TableName } from "../../src/dashboard/tables.ts";
import { madeUpOverview } from "./made-up-overview.ts";

export const HOSTILE = [
  '<img src=x onerror="document.title=`owned`">',
  "</script><script>document.title='owned'</script>",
  "\u202eright to left\u202c",
  "nul\u0000here",
  "'; DROP TABLE latents; --",
  "x".repeat(3000),
  "👩‍🔬👍🏽",
  "\n\n",
  "\t",
] as const;

const WORDS = [
  ..." the| of| and| bank| river| money| in| to| is|ing|,|.|\n| loan|s| water| deep| credit| shore| boat| said| she| he| not| very|ly| 1| 2| one| two".split(
    "|",
  ),
  ...HOSTILE,
];

/** The latent named after the first hostile text; the others follow. Each has that text as its token, too. */
export const FIRST_HOSTILE = WORDS.length - HOSTILE.length;

export interface MadeUpSiteOptions {
  readonly folder: string;
  readonly nLatents: number;
  /** every n-th latent has rows in the larger tables; 1: all */
  readonly detailEvery?: number;
  readonly live?: SiteLive | null;
}

export const LIVE: SiteLive = {
  indexes: ["layer-4"],
  model: "made-up/model",
  chat: true,
  contextSize: 128,
  note: "The whole context runs again for each token: fine on small models.",
};

/** Writes `data/` of a site into the folder. */
export async function makeSite({
  folder,
  nLatents,
  detailEvery = 1,
  live = null,
}: MadeUpSiteOptions): Promise<Site> {
  const data = join(folder, "data");
  await mkdir(data, { recursive: true });
  const indexes: SiteIndex[] = [
    {
      id: "layer-4",
      path: "layer-4",
      title: "layer 4, adapted <b>",
      run: "made-up",
      layer: 4,
      phase: "after",
      base: "layer-4-before",
      explanations: true,
    },
    {
      id: "layer-4-before",
      path: "layer-4-before",
      title: "layer 4, before",
      run: "made-up",
      layer: 4,
      phase: "before",
      base: null,
      explanations: false,
    },
  ];
  for (const [seed, index] of indexes.entries())
    await makeIndex(join(data, index.path), index, nLatents, detailEvery, seed);
  await makeMatches(data, nLatents);
  const site: Site = {
    format: "lapidary-site",
    version: 1,
    title: "A made-up run </title><b>",
    runs: ["made-up"],
    indexes,
    comparisons: [{ a: "layer-4-before", b: "layer-4", path: "matches.parquet" }],
    live,
    notLive: live === null ? "A static export holds tables, not the model." : null,
  };
  await writeFile(join(data, "site.json"), JSON.stringify(site));
  await writeFile(join(data, "overview.json"), JSON.stringify(madeUpOverview()));
  return site;
}

async function makeIndex(
  folder: string,
  index: SiteIndex,
  nLatents: number,
  every: number,
  seed: number,
): Promise<void> {
  const database = await Database.open({ folder, memoryBytes: (nLatents > 10_000 ? 3072 : 512) * 2 ** 20 });
  try {
    await database.createTable("words", [
      { name: "id", type: "INTEGER", meaning: "" },
      { name: "word", type: "VARCHAR", meaning: "" },
    ]);
    await database.append("words", [WORDS.map((_, i) => i), WORDS]);
    await database.run(MACROS);
    await database.run(`CREATE TABLE w AS SELECT list(word ORDER BY id) AS words FROM words`);
    await database.run(`CREATE TABLE latents AS ${latentsQuery(nLatents, seed, index.base !== null)}`);
    for (const table of Object.keys(TABLES) as TableName[]) {
      const columns = TABLES[table].columns
        .map(({ name, type }) => `"${name}"::${type} AS "${name}"`)
        .join(", ");
      const query = table === "latents" ? "SELECT * FROM latents" : DETAIL[table](every, seed);
      await database.writeParquet(`SELECT ${columns} FROM (${query}) ORDER BY latent`, TABLES[table].file);
    }
    if (index.explanations) await database.writeParquet(EXPLANATIONS, "explanations.parquet");
  } finally {
    database.close();
  }
  await writeFile(join(folder, "index.json"), JSON.stringify(await manifestOf(folder, index, nLatents)));
}

/** u(key): a number of [0, 1) that follows from its key. */
const MACROS = `
  CREATE MACRO u(key) AS (hash(key) % 1000003)::DOUBLE / 1000003;
  CREATE MACRO h(key, n) AS (hash(key) % n)::INTEGER;
`;

function latentsQuery(nLatents: number, seed: number, hasBase: boolean): string {
  const base = (value: string) => (hasBase ? value : "NULL");
  return `
    WITH raw AS (
      SELECT i AS latent, u(i * 7 + ${seed}) AS a, u(i * 11 + 3) AS b, u(i * 13 + 5) AS c,
        CASE WHEN i % 29 = 5 THEN 0 ELSE greatest(1, floor(10 ^ (4.2 * u(i * 7 + ${seed})))) END AS n
      FROM range(${nLatents}) t(i)
    )
    SELECT latent::UINTEGER AS latent, (CASE WHEN latent < ${nLatents / 4} THEN 0 WHEN latent < ${nLatents / 2} THEN 1 ELSE 2 END)::UTINYINT AS level,
      n::UINTEGER AS n_active, least(n, 90)::UINTEGER AS n_documents, n / 20000.0 AS density,
      CASE WHEN n > 0 THEN 0.2 + b END AS min_act, CASE WHEN n > 0 THEN 2 + 18 * c END AS max_act, CASE WHEN n > 0 THEN 1.5 + b + 5 * c END AS mean_act,
      1.0 AS decoder_norm, 0.6 + c AS encoder_norm, 0.2 + 0.6 * b AS encoder_decoder_cosine, -b AS b_enc, 0.2 AS threshold,
      latent % 58 = 5 AS dead_in_training, (CASE WHEN latent % 37 = 3 THEN 2 ELSE 0 END)::UINTEGER AS n_resampled,
      ${base("CASE WHEN latent % 31 = 4 THEN 0 ELSE 10 ^ (4.2 * u(latent * 7 + 1)) / 20000 END")} AS base_density,
      ${base("1 - 0.9 * b * b * b")} AS decoder_drift_cosine, ${base("1 - 0.8 * c * c")} AS encoder_drift_cosine,
      -0.4 - b AS logit_min, 0.6 + c AS logit_max, 0.01 * (b - 0.5) AS logit_mean, 0.1 + 0.1 * c AS logit_std,
      CASE WHEN latent % 29 = 5 THEN '' WHEN latent < len(words) THEN '"' || words[latent + 1] || '"' ELSE '"' || words[1 + h(latent * 17, 27)] || words[1 + h(latent * 19, 27)] || '"' END AS label,
      CASE WHEN latent % 29 = 5 THEN 'none' WHEN latent % 5 = 0 THEN 'output' ELSE 'token' END AS label_kind,
      CASE WHEN latent % 5 = 0 OR latent % 29 = 5 THEN NULL ELSE b END AS label_precision, CASE WHEN latent % 5 = 0 OR latent % 29 = 5 THEN NULL ELSE c END AS label_recall
    FROM raw, w ORDER BY latent`;
}

/** Rows of latents that fire, or of all, every n-th. */
const DETAIL: Readonly<Record<Exclude<TableName, "latents">, (every: number, seed: number) => string>> = {
  histograms: () => `
    SELECT latent,
      CASE WHEN n_active = 0 THEN []::UINTEGER[] ELSE list_transform(range(${HISTOGRAM_BINS}), j -> floor(n_active * exp(-j / 9.0) / 9)) END AS activations,
      list_transform(range(${HISTOGRAM_BINS}), j -> floor(4000 * exp(0 - pow((j - 20) / 6.0, 2)) * (0.5 + u(latent * 50 + j)))) AS logits,
      CASE WHEN n_active = 0 THEN []::UINTEGER[] ELSE list_transform(range(${INTERVALS}), j -> floor(n_active * exp(-2.0 * j))) END AS intervals
    FROM latents`,
  examples: (every, seed) => `
    SELECT latent, e AS rank, CASE WHEN e < 10 THEN -1 ELSE ${INTERVALS + 9} - e END AS interval,
      max_act * CASE WHEN e < 10 THEN 1 - e * 0.02 ELSE greatest(0.05, 1 - (e - 10) * 0.2 - 0.1) END AS value,
      h(latent * 100 + e, 90) AS document, h(latent * 100 + e, 700) AS "window", 12 + h(latent * 101 + e, 100) AS position,
      h(latent + e, 3) AS role, h(latent + e, 2) AS source, 10 AS at,
      list_transform(range(21), j -> CASE WHEN j = 10 THEN words[1 + latent % len(words)] ELSE words[1 + h(latent * 1000 + e * 31 + j + ${seed}, 29)] END) AS tokens,
      list_transform(range(21), j -> CASE WHEN j = 10 THEN value WHEN h(latent * 77 + e * 31 + j, 5) = 0 THEN value * u(latent * 78 + e * 31 + j) * 0.8 ELSE 0 END) AS acts
    FROM latents, w, range(15) t(e) WHERE n_active > 0 AND latent % ${every} = 0
    ORDER BY latent, rank`,
  logits: () => `
    SELECT latent, CASE WHEN e < 10 THEN 'top' ELSE 'bottom' END AS side, e % 10 AS rank, h(latent * 40 + e, 30000) AS token_id,
      CASE WHEN e = 0 THEN words[1 + latent % len(words)] ELSE words[1 + h(latent * 41 + e, 29)] END AS token,
      CASE WHEN e < 10 THEN logit_max * (1 - e * 0.05) ELSE logit_min * (1 - (e - 10) * 0.05) END AS value
    FROM latents, w, range(20) t(e) ORDER BY latent, side DESC, rank`,
  neighbours: (every) => `
    SELECT latent, CASE WHEN e < 8 THEN 'decoder' ELSE 'firing' END AS kind, e % 8 AS rank,
      h(latent * 60 + e, (SELECT count(*) FROM latents)) AS other, 0.9 - 0.05 * (e % 8) AS value,
      CASE WHEN e < 8 THEN NULL ELSE 0.8 - 0.05 * (e % 8) END AS cosine, CASE WHEN e < 8 THEN NULL ELSE h(latent + e, 900) END AS n_both,
      CASE WHEN e < 8 THEN NULL ELSE 0.5 - 0.05 * (e % 8) END AS jaccard
    FROM latents, range(16) t(e) WHERE latent % ${every} = 0 ORDER BY latent, kind, rank`,
  splits: (every) => `
    SELECT latent, k AS kind, c AS class, greatest(1, floor(n_active * u(latent * 9 + c))) AS n_active, mean_act * (0.8 + 0.1 * c) AS mean_act
    FROM latents, (VALUES ('position'), ('role'), ('source')) kinds(k), range(3) t(c)
    WHERE n_active > 0 AND latent % ${every} = 0 AND NOT (k = 'source' AND c = 2) ORDER BY latent, kind, class`,
};

/** The columns that the page reads, for every third latent. */
const EXPLANATIONS = `
  SELECT latent, 'examples' AS method, 'made-up-explainer' AS model, 'made-up-judge' AS judge, 15::UINTEGER AS n_shown,
    CASE WHEN latent % 9 = 0 THEN NULL ELSE 'fires on ' || label || ' <i>and</i> what goes with it' END AS explanation,
    CASE WHEN latent % 9 = 0 THEN 'the endpoint refused' END AS failure,
    (CASE WHEN latent % 9 = 0 THEN NULL ELSE 0.5 + 0.5 * u(latent) END)::FLOAT AS detection_accuracy,
    (0.5 + 0.4 * u(latent))::FLOAT AS detection_low, (0.6 + 0.4 * u(latent))::FLOAT AS detection_high,
    0.52::FLOAT AS detection_control, 0.7::FLOAT AS detection_baseline, NULL::FLOAT AS fuzzing_accuracy
  FROM latents WHERE latent % 3 = 0 AND n_active > 0 ORDER BY latent`;

async function makeMatches(data: string, nLatents: number): Promise<void> {
  const database = await Database.open({ folder: data, memoryBytes: 256 * 2 ** 20 });
  try {
    await database.run(MACROS);
    await database.writeParquet(
      `SELECT i::UINTEGER AS latent, (1 - 0.9 * u(i * 11 + 3) ^ 3)::FLOAT AS decoder_cosine, (1 - 0.8 * u(i * 13 + 5) ^ 2)::FLOAT AS encoder_cosine,
        (CASE WHEN i % 97 = 1 THEN NULL WHEN i % 6 = 0 THEN h(i, ${nLatents}) ELSE i END)::UINTEGER AS nearest,
        (CASE WHEN i % 97 = 1 THEN NULL ELSE 1 - 0.7 * u(i * 11 + 3) ^ 3 END)::FLOAT AS nearest_cosine,
        10 ^ (4.2 * u(i * 7 + 1)) / 20000 AS density_a, 10 ^ (4.2 * u(i * 7)) / 20000 AS density_b
       FROM range(${nLatents}) t(i)`,
      "matches.parquet",
    );
  } finally {
    database.close();
  }
}

async function manifestOf(folder: string, index: SiteIndex, nLatents: number): Promise<IndexManifest> {
  const classes = (...names: string[]): TokenClass[] =>
    names.map((name, i) => ({ name, nTokens: 12_000 / (i + 1) }));
  const files: [TableName, IndexedFile][] = [];
  for (const table of Object.keys(TABLES) as TableName[]) {
    const name = TABLES[table].file;
    const bytes = await readFile(join(folder, name));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    files.push([table, { name, bytes: bytes.length, sha256, nRows: nLatents }]);
  }
  return {
    format: "lapidary-index",
    version: 1,
    sae: {
      name: index.title,
      hash: "0".repeat(64),
      architecture: "matryoshka_batchtopk",
      dIn: 64,
      dSae: nLatents,
      widths: [nLatents / 4, nLatents / 2, nLatents],
      hookName: "blocks.4.hook_resid_post",
    },
    data: {
      model: "made-up/model",
      sets: ["heldout"],
      nTokens: 20_000,
      nDocuments: 90,
      hash: "1".repeat(64),
    },
    splits: {
      role: classes("system", "user", "assistant"),
      source: classes("books", "<b>web</b>"),
      position: classes("1", "2–15", "16+"),
    },
    logits: { vocabSize: 30_000, finalNorm: false },
    base: index.base === null ? null : { name: "base", hash: "2".repeat(64), index: index.base },
    options: { topExamples: 10, examplesPerInterval: 2, tokensBefore: 10, tokensAfter: 10, seed: 0 },
    software: { lapidary: "0.1.0" },
    files: Object.fromEntries(files) as Record<TableName, IndexedFile>,
  };
}
