/**
 * Where a model or an SAE comes from, as the user writes it: a folder, `hf:owner/name[/sub/path][@revision]`, or, for
 * what is not a folder here, plain `owner/name`. Resolving gives a path on this disk, downloaded if need be.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { HubError } from "../errors.ts";
import { type DownloadOptions, downloadFiles, snapshotFolder } from "./download.ts";
import {
  isRepositoryName,
  openRepository,
  type Repository,
  type RepositoryFile,
  type RepositoryType,
} from "./repository.ts";
import { isSafePath, safeJoin } from "./safe-path.ts";
import type { HubSettings } from "./settings.ts";

export type Source =
  | { readonly kind: "path"; readonly path: string }
  | {
      readonly kind: "hub";
      /** owner/name */
      readonly name: string;
      /** folder or file within the repository; "" = all of it */
      readonly subPath: string;
      /** branch, tag or commit; undefined = main */
      readonly revision: string | undefined;
    };

/** Reads a source's spelling; touches neither disk nor network. @throws {HubError} `hf:` with something else behind it */
export function parseSource(text: string): Source {
  if (!text.startsWith("hf:")) return { kind: "path", path: text };
  const [place, ...revisions] = text.slice("hf:".length).split("@");
  const parts = place.replace(/^\/+|\/+$/g, "").split("/");
  const name = parts.slice(0, 2).join("/");
  const subPath = parts.slice(2).join("/");
  const revision = revisions.length === 0 ? undefined : revisions.join("@");
  if (!isRepositoryName(name) || (subPath !== "" && !isSafePath(subPath)) || revision === "")
    throw new HubError(`cannot read ${JSON.stringify(text)} as hf:owner/name[/sub/path][@revision]`);
  return { kind: "hub", name, subPath, revision };
}

const PLAIN_NAME = /^[\w-][\w.-]*\/[\w.-]+(@[\w./-]+)?$/;

/** The same, where `owner/name` means the hub if it is no path here. Looks whether it is. */
export async function findSource(text: string): Promise<Source> {
  const parsed = parseSource(text);
  if (parsed.kind === "hub" || !PLAIN_NAME.test(text)) return parsed;
  return (await stat(text).catch(() => null)) !== null ? parsed : parseSource(`hf:${text}`);
}

/** How a source is resolved: what of it is wanted, and from which hub. */
export interface ResolveOptions extends Omit<DownloadOptions, "folder"> {
  /** default "model", which SAEs are too */
  readonly type?: RepositoryType;
  /** the files wanted, given the paths of all there are under the sub path; default all of them */
  readonly choose?: (paths: string[]) => readonly string[];
  readonly settings?: HubSettings;
}

/**
 * The local path of a source: a folder (or a file, where the source names one). Files on the hub are downloaded once,
 * checked, and found in the cache afterwards.
 * @throws {HubError} neither a path here nor a repository there
 */
export async function resolveSource(source: string, options: ResolveOptions = {}): Promise<string> {
  const parsed = await findSource(source);
  if (parsed.kind === "path") {
    if ((await stat(parsed.path).catch(() => null)) !== null) return resolve(parsed.path);
    throw new HubError(`${source}: no such folder`, {
      hint: "give a folder, or a repository of the hub as hf:owner/name",
    });
  }
  const { name, subPath, revision } = parsed;
  const repository = await openRepository(options.type ?? "model", name, {
    revision,
    settings: options.settings,
    signal: options.signal,
  });
  const under = filesAt(repository, subPath);
  const chosen = new Set(options.choose?.(under.map(({ path }) => path)));
  const wanted = options.choose === undefined ? under : under.filter(({ path }) => chosen.has(path));
  await downloadFiles(repository, wanted, options);
  const folder = snapshotFolder(repository);
  return subPath === "" ? folder : safeJoin(folder, subPath);
}

/** The files of a repository at or below a path of it; "" = all. @throws {HubError} none */
export function filesAt({ name, files }: Repository, subPath: string): RepositoryFile[] {
  const under = files.filter(
    ({ path }) => subPath === "" || path === subPath || path.startsWith(`${subPath}/`),
  );
  if (under.length === 0)
    throw new HubError(`${name} has nothing at "${subPath}"`, {
      hint: `its top holds ${[...new Set(files.map(({ path }) => path.split("/")[0]))].slice(0, 20).join(", ")}`,
    });
  return under;
}
