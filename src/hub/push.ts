/**
 * Files of this disk → a repository of the hub, as one commit. What lies there with the same hash is not sent; large
 * files go first, and those the hub has already are not sent again, so that a broken upload goes on with the same call;
 * the commit comes last and names its parent, so that a revision is published whole or not at all.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { commitIter, HubApiError } from "@huggingface/hub";
import { HubError } from "../errors.ts";
import { fileError } from "../storage/file-error.ts";
import { type HubRequest, isWorthAnotherTry, NetworkError, pause, withoutQuery } from "./hub-fetch.ts";
import { openRepository, type Repository } from "./repository.ts";
import { writeRefusal } from "./target.ts";
import { wholeAnswer } from "./whole-answer.ts";

/** A file to publish, with what its bytes hash to. */
export interface OutgoingFile {
  /** in the repository, `/`-separated */
  readonly path: string;
  /** on this disk */
  readonly file: string;
  /** bytes */
  readonly size: number;
  readonly sha256: string;
  /** its git blob hash, by which the hub knows small files */
  readonly gitHash: string;
}

export interface PushOptions {
  /** the commit's first line */
  readonly title: string;
  /** large files through the Xet storage instead of LFS; default false */
  readonly xet?: boolean;
  readonly signal?: AbortSignal;
  /** bytes of large files sent or found, and of all there are */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** The hub keeps files of more bytes, and these kinds of any size, as LFS objects. */
const LFS_BYTES = 10_000_000;
const LFS_KINDS = /\.(safetensors|npz|npy|pt|bin|onnx|parquet|zip|gz|zst)$/;
/** Times the whole upload is begun again when the storage refused: its addresses expire. */
const ROUNDS = 3;

/** Whether the hub, with a new repository's rules, will keep this file as an LFS object. */
export function isLargeFile({ path, size }: Pick<OutgoingFile, "path" | "size">): boolean {
  return size > LFS_BYTES || LFS_KINDS.test(path);
}

/** Sizes and hashes of a file, read once. @throws {ResourceError} it cannot be read */
export async function outgoingFile(path: string, file: string): Promise<OutgoingFile> {
  try {
    const { size } = await stat(file);
    const sha256 = createHash("sha256");
    const git = createHash("sha1").update(`blob ${size}\0`);
    for await (const bytes of createReadStream(file, { highWaterMark: 1 << 20 })) {
      sha256.update(bytes as Buffer);
      git.update(bytes as Buffer);
    }
    return { path, file, size, sha256: sha256.digest("hex"), gitHash: git.digest("hex") };
  } catch (error) {
    throw fileError(error, file);
  }
}

/** The files that `repository` does not hold with the same bytes. */
export function missingFiles(
  repository: Pick<Repository, "files"> | null,
  files: readonly OutgoingFile[],
): OutgoingFile[] {
  const there = new Map(repository?.files.map((file) => [file.path, file]));
  return files.filter(({ path, size, sha256, gitHash }) => {
    const found = there.get(path);
    const isSame = found?.identity === `sha256:${sha256}` || found?.identity === `git:${gitHash}`;
    return !(isSame && found.size === size);
  });
}

/**
 * Commits what `repository` lacks of `files` on top of it. Returns the repository at the new commit, its listing
 * compared with the files; with nothing to send, as it was.
 * @throws {HubError} somebody else committed meanwhile, the token is refused, or what the hub lists is not what was sent
 * @throws {NetworkError} the hub could not be reached, or not be asked whether the commit was made
 */
export async function pushFiles(
  repository: Repository,
  files: readonly OutgoingFile[],
  options: PushOptions,
): Promise<Repository> {
  const { type, name, revision, settings } = repository;
  const missing = missingFiles(repository, files);
  if (missing.length === 0) return repository;
  const commit = await uploaded(repository, missing, options);
  const pushed = await openRepository(type, name, { revision: commit, settings, signal: options.signal });
  const [wrong] = missingFiles(pushed, files);
  if (wrong !== undefined)
    throw new HubError(`${name} at ${commit}: ${wrong.path} does not have the hash of ${wrong.file}`, {
      hint: "the file changed while it was sent: publish again",
    });
  return { ...pushed, revision };
}

/** Uploads and commits; the new commit. */
async function uploaded(
  repository: Repository,
  files: readonly OutgoingFile[],
  options: PushOptions,
): Promise<string> {
  for (let round = 1; ; round++) {
    try {
      return await oneRound(repository, files, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      const mayPass = error instanceof StorageError || error instanceof SyntaxError;
      if (!mayPass || round >= ROUNDS) throw pushError(repository, error);
      await pause(repository.settings, round, null, options.signal);
    }
  }
}

async function oneRound(
  repository: Repository,
  files: readonly OutgoingFile[],
  { title, xet = false, signal, onProgress }: PushOptions,
): Promise<string> {
  const { type, name, revision, commit, settings } = repository;
  const operations = files.map(({ path, file, size }) => ({
    operation: "addOrUpdate" as const,
    path,
    content: size > 0 ? pathToFileURL(file) : new Blob([]),
  }));
  const events = commitIter({
    repo: { type, name },
    branch: revision,
    parentCommit: commit,
    title,
    operations,
    useXet: xet,
    hubUrl: settings.endpoint,
    abortSignal: signal,
    fetch: (input, init) => uploadFetch(repository, files, String(input), init ?? {}, signal),
  });
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const done = new Map<string, number>();
  for (;;) {
    const next = await events.next();
    if (next.done) {
      const made = next.value?.commit.oid;
      if (made === undefined || !/^[0-9a-f]{40}$/.test(made))
        throw new HubError(`${name}: the hub named the new commit ${JSON.stringify(made)}`);
      return made;
    }
    const event = next.value;
    if (event.event !== "fileProgress" || event.state !== "uploading") continue;
    done.set(event.path, event.progress * (sizes.get(event.path) ?? 0));
    onProgress?.(
      [...done.values()].reduce((sum, bytes) => sum + bytes, 0),
      total,
    );
  }
}

/** The storage behind the hub refused bytes: an address that expired, or bytes that arrived damaged. */
class StorageError extends HubError {}

/** How the library reaches the hub while it uploads. An answer is handed on when it is whole. */
async function uploadFetch(
  repository: Repository,
  files: readonly OutgoingFile[],
  url: string,
  init: RequestInit,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const { settings } = repository;
  const both = [init.signal, signal].filter((each) => each !== undefined && each !== null);
  const request = {
    method: init.method,
    headers: Object.fromEntries(new Headers(init.headers)),
    body: init.body,
    signal: AbortSignal.any(both),
  };
  const { origin, pathname } = new URL(url);
  const isHome = origin === new URL(settings.endpoint).origin;
  if (isHome && /^\/api\/\w+\/[^/]+\/[^/]+\/commit\//.test(pathname))
    return commitOnce(repository, files, url, request);
  const answer = await wholeAnswer(settings, url, request);
  const isQuestion = isHome && /\/(preupload\/[^/]+|info\/lfs\/objects\/batch)$/.test(pathname);
  if (!isQuestion && !answer.ok && !(isHome && answer.status === 401))
    throw new StorageError(`${withoutQuery(url)}: the hub's storage answered ${answer.status}`, {
      hint: "run the same command again: what has arrived is not sent again",
    });
  return answer;
}

/**
 * The request that makes the commit. When it is not known whether it was made (no answer, a broken one, the server
 * failed), the branch is looked at: it has moved to a commit that holds the files, so it was; it has not moved, so the
 * request may be repeated: its parent is pinned, so it cannot be made twice.
 */
async function commitOnce(
  repository: Repository,
  files: readonly OutgoingFile[],
  url: string,
  request: HubRequest & { readonly signal: AbortSignal },
): Promise<Response> {
  const { settings } = repository;
  for (let attempt = 1; ; attempt++) {
    let answer: Response | null = null;
    let failure: unknown = null;
    try {
      answer = await wholeAnswer({ ...settings, attempts: 1 }, url, request);
      if (answer.ok) {
        await answer.clone().json();
        return answer;
      }
      if (answer.status !== 412 && !isWorthAnotherTry(answer.status)) return answer;
    } catch (error) {
      if (!(error instanceof NetworkError || error instanceof SyntaxError)) throw error;
      failure = error;
    }
    const made = await commitMade(repository, files, request.signal);
    if (made !== null) return Response.json({ commitOid: made, commitUrl: "", hookOutput: "" });
    if (answer?.status === 412) return answer;
    if (attempt >= settings.attempts) {
      if (answer !== null) return answer;
      throw failure;
    }
    await pause(settings, attempt, answer?.headers.get("retry-after") ?? null, request.signal);
  }
}

/** The commit that the branch now stands at, if that is another than before and holds the files; null: it has not moved. */
async function commitMade(
  repository: Repository,
  files: readonly OutgoingFile[],
  signal: AbortSignal,
): Promise<string | null> {
  const { type, name, revision, settings } = repository;
  const now = await openRepository(type, name, { revision, settings, signal, fresh: true });
  if (now.commit === repository.commit) return null;
  if (missingFiles(now, files).length === 0) return now.commit;
  throw movedError(repository, now.commit);
}

function movedError({ name, revision, commit }: Repository, now: string): HubError {
  return new HubError(
    `${name}: ${revision} moved from ${commit.slice(0, 12)} to ${now.slice(0, 12)} while files were sent; nothing was published`,
    { hint: "look at what was committed there, then publish again" },
  );
}

/** What the library threw, as an error of ours. */
function pushError({ name }: Repository, error: unknown): unknown {
  if (error instanceof HubApiError) return writeRefusal(name, error.statusCode);
  if (error instanceof SyntaxError)
    return new HubError(`${name}: the hub's answer is not JSON`, { hint: "try again later" });
  return error;
}
