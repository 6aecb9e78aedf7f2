/** A file's bytes from the hub, from any offset; a connection that breaks is taken up again where it broke. */
import { setTimeout as sleep } from "node:timers/promises";
import { HubError } from "../errors.ts";
import { causeOf, hubFetch, NetworkError, refusal } from "./hub-fetch.ts";
import { fileUrl, type Repository, type RepositoryFile } from "./repository.ts";
import { withStallLimit } from "./whole-answer.ts";

/**
 * Bytes [from, to) of a file. The caller checks hashes; here the range and the file's size are checked.
 * @throws {NetworkError} the connection broke `settings.attempts` times without a byte of progress
 */
export async function* rangeStream(
  repository: Repository,
  file: RepositoryFile,
  from: number,
  to: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { settings } = repository;
  let position = from;
  let failures = 0;
  while (position < to) {
    const start = position;
    try {
      for await (const bytes of oneConnection(repository, file, position, to, signal)) {
        position += bytes.length;
        yield bytes;
      }
      if (position < to) throw new Error(`the connection ended at byte ${position}`);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof HubError) throw error;
      failures = position > start ? 1 : failures + 1;
      if (failures >= settings.attempts)
        throw new NetworkError(`${repository.name}/${file.path}: ${causeOf(error)}`, {
          hint: "run the same command again: it goes on from what has arrived",
          cause: error,
        });
      await sleep(settings.retryDelayMs * 2 ** (failures - 1), undefined, { signal });
    }
  }
}

async function* oneConnection(
  repository: Repository,
  file: RepositoryFile,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const what = `${repository.name}/${file.path}`;
  const whole = from === 0 && to === file.size;
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (!whole) headers["range"] = `bytes=${from}-${to - 1}`;
  const response = await hubFetch(repository.settings, fileUrl(repository, file.path), { headers, signal });
  if (!response.ok || response.body === null) throw refusal(what, response);
  let skip = 0;
  if (response.status === 206) {
    const range = response.headers.get("content-range") ?? "";
    const [, first, size] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
    if (Number(first) !== from || (size !== "*" && Number(size) !== file.size)) {
      await response.body.cancel();
      throw new HubError(`${what}: asked for bytes from ${from} of ${file.size}, got "${range}"`);
    }
  } else {
    skip = from; // the server does not know ranges: it sends everything
  }
  const reader = response.body.getReader();
  let left = to - from;
  try {
    while (left > 0) {
      const { done, value } = await withStallLimit(reader.read(), repository.settings.stallMs);
      if (done) return;
      const useful = value.subarray(Math.min(skip, value.length));
      skip -= value.length - useful.length;
      const piece = useful.subarray(0, left);
      left -= piece.length;
      if (piece.length > 0) yield piece;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
