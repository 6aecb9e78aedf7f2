/**
 * One repository of the hub at one commit: which files it has, how long they are, and what their bytes hash to.
 * Answers that cannot change (the listing of a commit) are kept on disk; a branch's commit is asked for each time, and
 * remembered for when the network is gone.
 */

import { join } from "node:path";
import { datasetInfo, HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { HubError } from "../errors.ts";
import { writeJson } from "../storage/atomic.ts";
import { readJsonIfPresent } from "../storage/json.ts";
import { NetworkError, refusal } from "./hub-fetch.ts";
import { isSafePath } from "./safe-path.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { wholeAnswer } from "./whole-answer.ts";

export type RepositoryType = "model" | "dataset";

export interface RepositoryFile {
  /** relative to the repository, `/`-separated, safe to join onto a folder */
  readonly path: string;
  /** bytes */
  readonly size: number;
  /** `sha256:…` of the content (large files) or `git:…`, its git blob hash */
  readonly identity: string;
}

export interface Repository {
  readonly type: RepositoryType;
  readonly name: string;
  /** as asked for: a branch, tag or commit */
  readonly revision: string;
  /** the commit it stood for, 40 hex digits */
  readonly commit: string;
  readonly files: readonly RepositoryFile[];
  /** its folder in the cache */
  readonly dir: string;
  readonly settings: HubSettings;
}

const MAX_FILES = 200_000;
const COMMIT = /^[0-9a-f]{40}$/;
const NAME = /^[A-Za-z0-9][\w.-]{0,95}(\/[A-Za-z0-9_][\w.-]{0,95})?$/;

/** True if `name` could be a repository's: `owner/name` or, for old ones, `name`. */
export function isRepositoryName(name: string): boolean {
  return NAME.test(name) && !name.includes("..") && !name.includes("--");
}

/**
 * Finds a repository's commit and files.
 * @throws {HubError} there is no such repository or revision, it may not be read, or a path in it is not safe
 * @throws {NetworkError} the hub cannot be reached and nothing is cached; with `fresh`, where a branch stands is never
 * taken from the cache
 */
export async function openRepository(
  type: RepositoryType,
  name: string,
  options: { revision?: string; settings?: HubSettings; signal?: AbortSignal; fresh?: boolean } = {},
): Promise<Repository> {
  const settings = options.settings ?? hubSettings();
  const revision = options.revision ?? "main";
  if (!isRepositoryName(name))
    throw new HubError(`${JSON.stringify(name)} is not a repository's name, expected owner/name`);
  const dir = join(settings.cacheDir, `${type}s`, ...name.split("/"));
  const commit = await commitOf(type, name, revision, dir, settings, options);
  const listing = join(dir, "listings", `${commit}.json`);
  const cached = await readJsonIfPresent<RepositoryFile[]>(listing);
  const files = cached ?? (await list(type, name, commit, settings, options.signal));
  for (const file of files)
    if (!isSafePath(file.path))
      throw new HubError(`${name} lists ${JSON.stringify(file.path)}, which would leave its folder: refused`);
  if (cached === undefined) await writeJson(listing, files);
  return { type, name, revision, commit, files, dir, settings };
}

/** The address of a file's bytes. */
export function fileUrl(repository: Repository, path: string): string {
  const prefix = repository.type === "model" ? "" : `${repository.type}s/`;
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${repository.settings.endpoint}/${prefix}${repository.name}/resolve/${repository.commit}/${encoded}`;
}

async function commitOf(
  type: RepositoryType,
  name: string,
  revision: string,
  dir: string,
  settings: HubSettings,
  { signal, fresh = false }: { signal?: AbortSignal; fresh?: boolean },
): Promise<string> {
  if (COMMIT.test(revision)) return revision;
  const remembered = join(dir, "refs", `${encodeURIComponent(revision)}.json`);
  try {
    const ask = { name, revision, additionalFields: ["sha" as const], ...connection(settings, signal) };
    const { sha } = await (type === "model" ? modelInfo(ask) : datasetInfo(ask));
    if (!COMMIT.test(sha)) throw new HubError(`${name}: the hub named the commit ${JSON.stringify(sha)}`);
    await writeJson(remembered, { commit: sha });
    return sha;
  } catch (error) {
    if (error instanceof NetworkError && !fresh) {
      const known = await readJsonIfPresent<{ commit: string }>(remembered);
      if (known !== undefined && COMMIT.test(known.commit)) return known.commit;
    }
    throw asHubError(`${name} at ${revision}`, error);
  }
}

async function list(
  type: RepositoryType,
  name: string,
  commit: string,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  try {
    const entries = listFiles({
      repo: { type, name },
      recursive: true,
      revision: commit,
      ...connection(settings, signal),
    });
    for await (const entry of entries) {
      if (entry.type !== "file") continue;
      const identity = entry.lfs === undefined ? `git:${entry.oid}` : `sha256:${entry.lfs.oid}`;
      files.push({ path: entry.path, size: entry.lfs?.size ?? entry.size, identity });
      if (files.length > MAX_FILES) throw new HubError(`${name}: more than ${MAX_FILES} files`);
    }
  } catch (error) {
    throw asHubError(name, error);
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** How Hugging Face's functions reach the hub: through our fetch, which alone knows the token; answers arrive whole. */
export function connection(settings: HubSettings, signal: AbortSignal | undefined) {
  const viaHubFetch: typeof fetch = (input, init) =>
    wholeAnswer(settings, String(input), {
      method: init?.method,
      headers: Object.fromEntries(new Headers(init?.headers)),
      body: init?.body,
      signal,
    });
  return { hubUrl: settings.endpoint, fetch: viaHubFetch };
}

/** What Hugging Face's functions throw, as an error of ours. */
export function asHubError(what: string, error: unknown): unknown {
  if (error instanceof HubApiError) return refusal(what, { status: error.statusCode });
  if (error instanceof SyntaxError)
    return new HubError(`${what}: the hub's answer is not JSON`, {
      hint: "try again later; something between you and the hub may answer in its place",
      cause: error,
    });
  return error;
}
