/**
 * What the file system refuses, as an error that names the file and what to try. Node's own errors of an open file do not
 * say which file it is, and "absent" is only one of the reasons why a file cannot be looked at.
 */
import type { Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { ResourceError } from "../errors.ts";

const REASONS: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ENOSPC: ["no space left on the disk", "make room there; the same command goes on from what is done"],
  EDQUOT: ["the disk quota is used up", "make room there; the same command goes on from what is done"],
  EFBIG: [
    "the file would be larger than this system lets it be",
    "raise the limit (ulimit -f) or choose another disk; the same command goes on from what is done",
  ],
  EMFILE: ["too many open files", "raise the limit of open files (ulimit -n) and run the command again"],
  ENFILE: ["too many open files", "close other programs, or raise the system's limit of open files"],
  EACCES: ["permission denied", "check who owns the folder and who may write to it"],
  EPERM: ["not permitted", "check who owns the folder and who may write to it"],
  EROFS: ["the disk is read-only", "choose a folder on another disk"],
  EIO: ["the disk reported an error", "check the disk; the same command goes on from what is done"],
  ENOENT: ["no such file or folder", "was it removed while the command ran? the same command makes it again"],
  EBUSY: ["in use by another program", "close what uses it and run the command again"],
};

/**
 * An error of the file system as a ResourceError that names `path` (or the path the error itself carries); anything else
 * as it is.
 */
export function fileError(error: unknown, path?: string): unknown {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return error;
  const { code, syscall, path: own } = error as NodeJS.ErrnoException;
  const [what, hint] = REASONS[code ?? ""] ?? [error.message, undefined];
  const named = own ?? path;
  return new ResourceError(
    `${named === undefined ? "" : `${named}: `}${what} (${code}, ${syscall})`,
    hint,
    error,
  );
}

/** The file's stats, or null if there is none. @throws {ResourceError} it cannot be told */
export async function statIfPresent(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw fileError(error, path);
  }
}

/** The error says that there is no such file or folder. */
export function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}
