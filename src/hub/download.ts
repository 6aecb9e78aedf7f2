/**
 * Whole files of a repository on this disk: `<cache>/models/<owner>/<name>/<commit>/<path>`. A file arrives under
 * `partial/`, goes on from where it was broken off, is checked against the hub's size and hash, and only then gets its
 * name; so what has its name is whole.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HubError } from "../errors.ts";
import { syncFolder } from "../storage/atomic.ts";
import { rangeStream } from "./range-stream.ts";
import type { Repository, RepositoryFile } from "./repository.ts";
import { safeJoin } from "./safe-path.ts";

export interface DownloadProgress {
  /** path of the file being fetched */
  readonly file: string;
  /** bytes on disk, over all files asked for */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  /** where files go; default the repository's snapshot in the cache. On the same file system as `repository.dir`. */
  readonly folder?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** The folder of a repository's whole files. */
export function snapshotFolder(repository: Repository): string {
  return join(repository.dir, repository.commit);
}

/** Fetches what is missing of `files`. Returns the folder they are in. */
export async function downloadFiles(
  repository: Repository,
  files: readonly RepositoryFile[],
  options: DownloadOptions = {},
): Promise<string> {
  const totalBytes = files.reduce((sum, file) => sum + file.size, 0);
  let before = 0;
  for (const file of files) {
    await downloadFile(repository, file, {
      folder: options.folder,
      signal: options.signal,
      onProgress: (progress) =>
        options.onProgress?.({ file: file.path, doneBytes: before + progress.doneBytes, totalBytes }),
    });
    before += file.size;
  }
  return options.folder ?? snapshotFolder(repository);
}

/**
 * Fetches one file, unless it is there already. Returns its path on this disk.
 * @throws {HubError} it is not what the hub said it would be (after a second try from the first byte)
 */
export async function downloadFile(
  repository: Repository,
  file: RepositoryFile,
  options: DownloadOptions = {},
): Promise<string> {
  const target = safeJoin(options.folder ?? snapshotFolder(repository), file.path);
  const there = await stat(target).catch(() => null);
  if (there?.isFile() && there.size === file.size) return target;
  const partial = join(repository.dir, "partial", file.identity.replace(":", "-"));
  await mkdir(dirname(partial), { recursive: true });
  const resumed = await fetchInto(partial, repository, file, options);
  if (!(await isWhole(partial, file))) {
    await rm(partial, { force: true });
    if (resumed) await fetchInto(partial, repository, file, options);
    if (!resumed || !(await isWhole(partial, file))) {
      await rm(partial, { force: true });
      throw new HubError(`${repository.name}/${file.path}: what arrived does not have the hub's hash`, {
        hint: "try again; if it happens again, something between you and the hub changes files",
      });
    }
  }
  await mkdir(dirname(target), { recursive: true });
  await rename(partial, target);
  await syncFolder(dirname(target));
  return target;
}

/** Appends the missing bytes to `partial`. Returns whether there were some before. */
async function fetchInto(
  partial: string,
  repository: Repository,
  file: RepositoryFile,
  options: DownloadOptions,
): Promise<boolean> {
  const before = (await stat(partial).catch(() => null))?.size ?? 0;
  const from = before <= file.size ? before : 0;
  const handle = await open(partial, from > 0 ? "r+" : "w");
  try {
    let position = from;
    for await (const bytes of rangeStream(repository, file, from, file.size, options.signal)) {
      await handle.write(bytes, 0, bytes.length, position);
      position += bytes.length;
      options.onProgress?.({ file: file.path, doneBytes: position, totalBytes: file.size });
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return from > 0;
}

/** Whether the bytes at `path` have the identity that the hub gave. */
export async function isWhole(path: string, file: RepositoryFile): Promise<boolean> {
  if ((await stat(path)).size !== file.size) return false;
  const [kind, expected] = file.identity.split(":");
  const hash = createHash(kind === "sha256" ? "sha256" : "sha1");
  if (kind !== "sha256") hash.update(`blob ${file.size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex") === expected;
}
