/** The repository that one publishes to: found, or made. */
import { modelInfo } from "@huggingface/hub";
import { HubError } from "../errors.ts";
import { hubFetch, RefusedError } from "./hub-fetch.ts";
import { asHubError, connection, openRepository, type Repository } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** What there is of a repository before publishing. */
export interface Target {
  readonly name: string;
  readonly branch: string;
  /** at the branch; where that is to be made, at main; null: the repository is to be made */
  readonly repository: Repository | null;
  readonly hasBranch: boolean;
}

/** Looks for a repository and its branch; changes nothing. @throws {HubError} it may not be read */
export async function findTarget(
  name: string,
  branch: string,
  settings: HubSettings,
  signal?: AbortSignal,
): Promise<Target> {
  const open = async (revision: string) => {
    try {
      return await openRepository("model", name, { revision, settings, signal, fresh: true });
    } catch (error) {
      const isAbsent = error instanceof RefusedError && error.status === 404;
      const isUnseen =
        error instanceof RefusedError && error.status === 401 && settings.token() === undefined;
      if (isAbsent || isUnseen) return null; // to who does not say who it is, the hub says 401 of both
      throw error instanceof RefusedError ? writeRefusal(name, error.status) : error;
    }
  };
  const repository = await open(branch);
  if (repository !== null || branch === "main")
    return { name, branch, repository, hasBranch: repository !== null };
  return { name, branch, repository: await open("main"), hasBranch: false };
}

/**
 * Makes what is missing of a target. Returns the repository at the branch.
 * @throws {HubError} it may not be made, or is public where `isPrivate` was asked for
 */
export async function makeTarget(
  target: Target,
  settings: HubSettings,
  options: { isPrivate?: boolean; signal?: AbortSignal } = {},
): Promise<Repository> {
  const { name, branch } = target;
  const { isPrivate = false, signal } = options;
  requireToken(settings);
  let { repository, hasBranch } = target;
  if (repository === null) {
    const [organization, repo] = name.split("/");
    const visibility = isPrivate ? "private" : undefined;
    const body = { name: repo, organization, type: "model", visibility };
    await post(settings, `${settings.endpoint}/api/repos/create`, body, name, signal);
    hasBranch = branch === "main";
    repository = await openRepository("model", name, { settings, signal });
  }
  if (isPrivate) await refusePublic(name, settings, signal);
  if (hasBranch) return repository;
  const url = `${settings.endpoint}/api/models/${name}/branch/${encodeURIComponent(branch)}`;
  await post(settings, url, { startingPoint: repository.commit }, name, signal);
  return openRepository("model", name, { revision: branch, settings, signal });
}

/** @throws {HubError} there is no token */
export function requireToken(settings: HubSettings): void {
  if (settings.token() === undefined)
    throw new HubError("publishing needs a token, and there is none", {
      hint: "make one with write access on the hub, and set HF_TOKEN or log in with the hub's own tools",
    });
}

/** The error for a write that was refused. */
export function writeRefusal(name: string, status: number): RefusedError {
  const [what, hint] =
    status === 401
      ? [
          "the hub does not accept the token",
          "it may have expired: make a new one with write access, and set HF_TOKEN",
        ]
      : status === 403
        ? ["the token may not write there", "it needs write access to this owner's repositories"]
        : status === 412
          ? ["the branch moved while files were sent", "look at what was committed there, then publish again"]
          : status === 429
            ? ["too many requests", "wait a little, and run the same command again"]
            : ["the hub refused", "run the same command again: what has arrived is not sent again"];
  return new RefusedError(`${name}: ${what} (${status}); nothing was published`, status, hint);
}

async function refusePublic(
  name: string,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const info = await modelInfo({ name, ...connection(settings, signal) }).catch((error: unknown) => {
    throw asHubError(name, error);
  });
  if (!info.private)
    throw new HubError(`${name} is public, and --private was asked for; nothing was sent`, {
      hint: "make it private in its settings on the hub, or leave --private out",
    });
}

/** Makes something that may have been made already by an earlier try: 409 is as good as done. */
async function post(
  settings: HubSettings,
  url: string,
  body: unknown,
  name: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const response = await hubFetch(settings, url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  await response.body?.cancel();
  if (!response.ok && response.status !== 409) throw writeRefusal(name, response.status);
}
