/**
 * Files that are whole or absent: written under a temporary name in the same folder, synced, renamed, folder synced.
 * Temporary names end in `.tmp`; whoever owns a folder sweeps what no manifest names when it starts.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileError, isAbsent } from "./file-error.ts";

const TEMPORARY = /\.\d+-\d+\.tmp$/;
let serial = 0;

/** A temporary name beside `path`, unique in this process. */
export function temporaryName(path: string): string {
  serial += 1;
  return `${path}.${process.pid}-${serial}.tmp`;
}

/**
 * Writes `path` atomically: `write` fills an open temporary file; if it throws, the temporary file is removed and
 * `path` stays as it was.
 * @throws {ResourceError} the file system refused
 */
export async function writeAtomically(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await fill(temporary, write);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // the first error says more than one of tidying up
    throw fileError(error, path);
  }
}

async function fill(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, "w");
  try {
    await write(file);
    await file.sync();
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
  await file.close();
}

/** Atomic write of a whole text or byte array. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  await writeAtomically(path, async (file) => {
    await file.writeFile(content);
  });
}

/** Atomic write of `value` as indented JSON with a final newline. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Moves a finished temporary folder to its name: renames, then syncs the parent. `to` must not exist. */
export async function commitFolder(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Makes the names in a folder durable. Windows cannot open folders; there, renames are durable by themselves. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Removes what a killed process left in `folder` under names of `temporaryName`. Only for who holds the folder's lock. */
export async function sweepTemporary(folder: string): Promise<void> {
  await sweep(folder, (name) => !TEMPORARY.test(name));
}

/** Removes from `folder` every entry that `isNamed` does not claim. Returns what was removed; a missing folder is empty. */
export async function sweep(folder: string, isNamed: (name: string) => boolean): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (isAbsent(error)) return [];
    throw fileError(error, folder);
  });
  const strays = names.filter((name) => !isNamed(name));
  for (const name of strays) await rm(join(folder, name), { recursive: true, force: true });
  return strays;
}

/** Removes files, whether they are there or not. */
export async function removeFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true });
}
