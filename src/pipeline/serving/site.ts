/** Runs and indexes → a site: every file of it, and what is live. The server answers with it, an export copies it. */
import { join } from "node:path";
import { EXPLANATIONS_FILE } from "../../dashboard/explanations.ts";
import { INDEX_MANIFEST } from "../../dashboard/index-manifest.ts";
import type { LiveModel } from "../../dashboard/live/live-model.ts";
import type { Overview } from "../../dashboard/overview.ts";
import type { Site } from "../../dashboard/site.ts";
import { diskFile, jsonFile, type SiteFile } from "../../dashboard/site-files.ts";
import { StateError } from "../../errors.ts";
import { overviewOf } from "../../report/overview.ts";
import type { RunOptions } from "../context.ts";
import { reportFacts } from "../stages/report.ts";
import { type Matches, matchPairs, pairsOf } from "./comparisons.ts";
import { openLive } from "./live.ts";
import { makeMissingIndexes } from "./missing-indexes.ts";
import { pageFiles } from "./page.ts";
import { indexesOf, openServed, type Served, type ServedIndex } from "./served.ts";

/** What a site is made with. */
export interface SiteOptions extends RunOptions {
  /** make the indexes and matches that are missing; default true */
  readonly index?: boolean;
  /** why nothing is to be live, in words; default: the runs' model is, where it is here */
  readonly notLive?: string;
  /** the built page; default: the package's own */
  readonly page?: string;
}

/** A site: what the page is told, every file of it, and the model that can be asked. */
export interface OpenedSite {
  readonly site: Site;
  readonly files: readonly SiteFile[];
  /** to be closed by whoever asked for the site; null as `site.live` */
  readonly model: LiveModel | null;
}

/**
 * A site of run folders and folders of indexes, shown together; indexes and matches that are missing are made first.
 * @throws {StateError} a folder is neither a run nor an index, there is nothing to show, or the page is not built
 * @throws {FormatError} an index is damaged
 */
export async function openSite(paths: readonly string[], options: SiteOptions = {}): Promise<OpenedSite> {
  const page = await pageFiles(options.page);
  const served = await openServed(paths, options);
  const isIndexing = options.index ?? true;
  if (isIndexing) for (const { run } of served) if (run !== null) await makeMissingIndexes(run);
  const indexes = await indexesOf(served);
  const overview = await overviewOfRuns(served);
  if (indexes.length === 0 && overview.runs.every(({ layers }) => layers.length === 0))
    throw new StateError(
      `there is nothing to show in ${paths.join(", ")}`,
      "run the recipe first: lapidary run RECIPE",
    );
  const matches = await matchPairs(pairsOf(indexes), { isMaking: isIndexing, threads: options.threads });
  const { model, live, notLive } =
    options.notLive === undefined
      ? await openLive(indexes, options.threads)
      : { model: null, live: null, notLive: options.notLive };
  const site: Site = {
    format: "lapidary-site",
    version: 1,
    title: served.map(({ name }) => name).join(", "),
    runs: served.map(({ name }) => name),
    indexes: indexes.map(({ entry }) => entry),
    comparisons: matches.map(({ a, b, file }) => ({ a: a.entry.id, b: b.entry.id, path: pathOf(file) })),
    live,
    notLive,
  };
  const files = [
    ...page,
    jsonFile("data/site.json", site),
    jsonFile("data/overview.json", overview),
    ...(await Promise.all(indexes.map(filesOfIndex))).flat(),
    ...(await filesOfMatches(matches)),
  ];
  return { site, files, model };
}

async function overviewOfRuns(served: readonly Served[]): Promise<Overview> {
  const runs = [];
  for (const { name, run } of served)
    if (run !== null) runs.push({ ...overviewOf(await reportFacts(run)), run: name });
  return { format: "lapidary-overview", version: 1, runs };
}

async function filesOfIndex({ entry, dir, manifest }: ServedIndex): Promise<SiteFile[]> {
  const at = (name: string) => `data/${entry.path}/${name}`;
  return Promise.all([
    diskFile(at(INDEX_MANIFEST), join(dir, INDEX_MANIFEST)),
    ...Object.values(manifest.files).map(({ name, sha256 }) => diskFile(at(name), join(dir, name), sha256)),
    ...(entry.explanations ? [diskFile(at(EXPLANATIONS_FILE), join(dir, EXPLANATIONS_FILE))] : []),
  ]);
}

/** Two pairs can have the same matches: runs that began from one SAE. */
function filesOfMatches(matches: readonly Matches[]): Promise<SiteFile[]> {
  const files = new Map(matches.map(({ file }) => [pathOf(file), file]));
  return Promise.all([...files].map(([path, file]) => diskFile(`data/${path}`, file)));
}

function pathOf(file: string): string {
  return `matches/${file.split(/[\\/]/).at(-1)}`;
}
