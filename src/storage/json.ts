/** Reading JSON that we or others wrote, with one clear error; and a canonical form to hash. */
import { readFile } from "node:fs/promises";
import { FormatError } from "../errors.ts";
import { fileError, statIfPresent } from "./file-error.ts";

const MAX_JSON_BYTES = 256 * 1024 * 1024;

/**
 * Parses the JSON file at `path`; `absent` says what to try if there is none.
 * @throws {FormatError} it is too long, not JSON, or absent
 */
export async function readJson<T = unknown>(
  path: string,
  options: { maxBytes?: number; absent?: string } = {},
): Promise<T> {
  const limit = options.maxBytes ?? MAX_JSON_BYTES;
  const info = await statIfPresent(path);
  if (info === null) throw new FormatError(path, "no such file", { hint: options.absent });
  if (info.size > limit) throw new FormatError(path, `${info.size} bytes of JSON, at most ${limit} are read`);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw fileError(error, path);
  });
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new FormatError(path, `not JSON (${(error as Error).message})`, { cause: error });
  }
}

/** As `readJson`, or undefined if there is no such file. */
export async function readJsonIfPresent<T = unknown>(path: string): Promise<T | undefined> {
  return (await statIfPresent(path)) === null ? undefined : readJson<T>(path);
}

/** JSON with object keys sorted at every depth: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
