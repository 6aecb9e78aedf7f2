/** The JSON files of the site: what there is. Addresses are relative to the page, wherever it lies. */
import type { IndexManifest } from "../../../src/dashboard/manifest.ts";
import type { Overview } from "../../../src/dashboard/overview.ts";
import type { Site, SiteIndex } from "../../../src/dashboard/site.ts";
import type { TableName } from "../../../src/dashboard/tables.ts";
import { Once } from "./once.ts";
import type { FileAddress } from "./parquet.ts";

/** The address of a file under data/. */
export function dataUrl(path: string): string {
  const parts = path.split("/");
  if (parts.some((part) => part === ".." || part === ".")) throw new Error(`not a path under data/: ${path}`);
  return new URL(`data/${parts.map(encodeURIComponent).join("/")}`, document.baseURI).href;
}

const json = new Once<unknown>(async (path) => {
  const response = await fetch(dataUrl(path));
  if (!response.ok) throw new Error(`data/${path}: ${response.status} ${response.statusText}`);
  return response.json();
});

/** @throws {Error} there is none, or it is of another version */
export async function loadSite(): Promise<Site> {
  const site = (await json.get("site.json")) as Site;
  if (site.format !== "lapidary-site" || site.version !== 1)
    throw new Error(
      `data/site.json is of format ${site.format} ${site.version}; this page reads lapidary-site 1`,
    );
  return site;
}

export async function loadOverview(): Promise<Overview> {
  const overview = (await json.get("overview.json")) as Overview;
  if (overview.format !== "lapidary-overview" || overview.version !== 1)
    throw new Error(`data/overview.json is of another format or version than this page reads`);
  return overview;
}

export async function loadManifest(index: SiteIndex): Promise<IndexManifest> {
  return (await json.get(`${index.path}/index.json`)) as IndexManifest;
}

export function tableFile(index: SiteIndex, manifest: IndexManifest, table: TableName): FileAddress {
  const { name, bytes } = manifest.files[table];
  return { url: dataUrl(`${index.path}/${name}`), bytes };
}

/** The index that a part of an address names; without one, the first adapted SAE. */
export function findIndex(site: Site, id: string | undefined): SiteIndex | undefined {
  if (id !== undefined && id !== "") return site.indexes.find((index) => index.id === id);
  return site.indexes.find((index) => index.phase !== "before") ?? site.indexes[0];
}

/** The index of the SAE it was adapted from. */
export function baseOf(site: Site, index: SiteIndex): SiteIndex | undefined {
  return index.base === null ? undefined : site.indexes.find(({ id }) => id === index.base);
}
