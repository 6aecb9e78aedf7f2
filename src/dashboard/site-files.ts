/**
 * What a site consists of, file by file: the page, `data/site.json`, the indexes. The server answers with what is listed
 * here and nothing else, and a static export is a copy of it, so the two cannot differ.
 */
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { StateError } from "../errors.ts";
import { fileError } from "../storage/file-error.ts";

/** A file of a site, and where its bytes are. */
export interface SiteFile {
  /** below the site's root, with forward slashes, e.g. "data/layer-4/latents.parquet" */
  readonly path: string;
  readonly source: FileOnDisk | InMemory;
}

/** A file as it was when it was listed; it is refused once it is another. */
export interface FileOnDisk {
  readonly kind: "file";
  readonly file: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  /** where a manifest says it */
  readonly sha256: string | null;
}

export interface InMemory {
  readonly kind: "memory";
  readonly content: Uint8Array;
}

const MAX_FILES = 10_000;
const MAX_DEPTH = 5;

/** JSON under `path`. */
export function jsonFile(path: string, value: unknown): SiteFile {
  return { path, source: { kind: "memory", content: new TextEncoder().encode(JSON.stringify(value)) } };
}

/** One file. @throws {StateError} it is no regular file; a link is none */
export async function diskFile(path: string, file: string, sha256: string | null = null): Promise<SiteFile> {
  const info = await lstat(file).catch((error: unknown) => {
    throw fileError(error, file);
  });
  if (!info.isFile()) throw new StateError(`${file} is no regular file, so it is not shown`);
  return { path, source: { kind: "file", file, bytes: info.size, mtimeMs: info.mtimeMs, sha256 } };
}

/** The regular files under `folder`, in order of their names; links are left out. @throws {StateError} there are too many */
export async function filesUnder(folder: string): Promise<SiteFile[]> {
  const found: SiteFile[] = [];
  const look = async (below: string, depth: number) => {
    const entries = await readdir(join(folder, below), { withFileTypes: true }).catch((error: unknown) => {
      throw fileError(error, join(folder, below));
    });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory() && depth < MAX_DEPTH) await look(path, depth + 1);
      else if (entry.isFile()) found.push(await diskFile(path, join(folder, path)));
      if (found.length > MAX_FILES)
        throw new StateError(`${folder} holds more than ${MAX_FILES} files, which no page has`);
    }
  };
  await look("", 0);
  return found;
}

export function bytesOfFile({ source }: SiteFile): number {
  return source.kind === "file" ? source.bytes : source.content.length;
}
