/** Where an SAE lies: a folder, or a file in one. What a dialect looks at to recognise its own. */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { FormatError } from "../../errors.ts";
import { isAbsent, statIfPresent } from "../../storage/file-error.ts";

export interface Place {
  /** as it was asked for, made absolute */
  readonly path: string;
  readonly folder: string;
  /** the file's name, where a file was named */
  readonly file: string | null;
  /** names of what lies in the folder */
  readonly names: ReadonlySet<string>;
}

/** Looks at a path. @throws {FormatError} there is nothing */
export async function openPlace(location: string): Promise<Place> {
  const path = resolve(location);
  const info = await stat(path).catch((cause: unknown) => {
    if (!isAbsent(cause)) throw cause;
    throw new FormatError(path, "no such folder or file", {
      hint: "give a folder or a file, or a repository of the hub as hf:owner/name",
      cause,
    });
  });
  const folder = info.isDirectory() ? path : dirname(path);
  return {
    path,
    folder,
    file: info.isDirectory() ? null : basename(path),
    names: new Set(await readdir(folder)),
  };
}

/** Whether all of `names` lie here; a place that is a file must be one of them. */
export function holds(place: Place, ...names: readonly string[]): boolean {
  const isPart = place.file === null || names.includes(place.file);
  return isPart && names.every((name) => place.names.has(name));
}

/** Whether a file lies at a path below the folder. */
export async function hasFile(place: Place, ...path: readonly string[]): Promise<boolean> {
  return (await statIfPresent(join(place.folder, ...path)))?.isFile() ?? false;
}

/**
 * The last names of the path, from the outermost in: publishers put layer, site and width there and nowhere else. At most
 * eight, so that a user's own folders further out say nothing.
 */
export function pathNames({ path }: Pick<Place, "path">): string[] {
  return path.split(sep).slice(-8);
}

/** The first match in the names of the path, innermost first. */
export function inPath(place: Pick<Place, "path">, pattern: RegExp): RegExpExecArray | null {
  for (const name of pathNames(place).reverse()) {
    const match = pattern.exec(name);
    if (match !== null) return match;
  }
  return null;
}
