/** A site as a folder that any file host can serve, under any path: a copy of all its files, whole or absent. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { SiteFile } from "../../dashboard/site-files.ts";
import { bytesOfFile } from "../../dashboard/site-files.ts";
import { FormatError, ResourceError, StateError } from "../../errors.ts";
import { commitFolder, temporaryName, writeFileAtomically } from "../../storage/atomic.ts";
import { fileError, statIfPresent } from "../../storage/file-error.ts";
import type { Progress } from "../context.ts";
import { freeDisk, gigabytes } from "../resources.ts";

/** How a site is copied. */
export interface SiteExportOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** @throws {StateError} something is at `to` already; asked before the long work that comes before writing */
export async function refusePresent(to: string): Promise<void> {
  if ((await statIfPresent(resolve(to))) !== null)
    throw new StateError(`${to} is there already`, "name a folder that is not there yet, or remove it");
}

/**
 * Copies `files` to the new folder `to`.
 * @throws {StateError} something is there already
 * @throws {FormatError} a file is not what its index says
 */
export async function exportSite(
  files: readonly SiteFile[],
  to: string,
  { signal, onProgress }: SiteExportOptions = {},
): Promise<{ nFiles: number; bytes: number }> {
  const target = resolve(to);
  await refusePresent(to);
  const bytes = files.reduce((sum, file) => sum + bytesOfFile(file), 0);
  await mkdir(dirname(target), { recursive: true });
  const free = await freeDisk(dirname(target));
  if (bytes > free)
    throw new ResourceError(
      `the site has ${gigabytes(bytes)}, ${gigabytes(free)} are free in ${dirname(target)}`,
      "choose another disk",
    );
  const temporary = temporaryName(target);
  try {
    let done = 0;
    for (const file of files) {
      signal?.throwIfAborted();
      await copy(file, join(temporary, file.path), signal);
      done += bytesOfFile(file);
      onProgress?.({ done, total: bytes, unit: "bytes" });
    }
    await commitFolder(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw fileError(error, target);
  }
  return { nFiles: files.length, bytes };
}

async function copy({ path, source }: SiteFile, to: string, signal: AbortSignal | undefined): Promise<void> {
  if (source.kind === "memory") return writeFileAtomically(to, source.content);
  await mkdir(dirname(to), { recursive: true });
  const hash = createHash("sha256");
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(createReadStream(source.file), hashing, createWriteStream(to), { signal });
  const found = hash.digest("hex");
  if (source.sha256 !== null && found !== source.sha256)
    throw new FormatError(source.file, `its bytes hash to ${found}, its index says ${source.sha256}`, {
      hint: `build the index of ${path} again: lapidary index … --overwrite`,
    });
  const file = await open(to, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
