/**
 * A repository of the hub → a folder of this disk, every file checked against the hub's hash: SHA-256 of large files, the
 * git blob hash of small ones. Goes on where it was stopped; a file of the same name with other bytes is not overwritten.
 */
import { mkdir, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { HubError, StateError } from "../errors.ts";
import { type DownloadProgress, downloadFiles, isWhole } from "./download.ts";
import { openRepository, type Repository, type RepositoryFile } from "./repository.ts";
import { safeJoin } from "./safe-path.ts";
import type { HubSettings } from "./settings.ts";
import { filesAt, parseSource } from "./source.ts";

/** Holds what is on its way; goes when all is there. */
const ON_THE_WAY = ".lapidary-pull";

/** From which hub, and who is told how far it is. */
export interface PullOptions {
  readonly settings?: HubSettings;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** What lies in the folder now. */
export interface Pulled {
  readonly folder: string;
  readonly commit: string;
  readonly files: readonly RepositoryFile[];
  /** of the files, those that lay there already */
  readonly nKept: number;
}

/**
 * Brings `hf:owner/name[/sub/path][@revision]` into `folder`, at the paths it has in the repository.
 * @throws {StateError} the folder holds another file of the same name; nothing is fetched then
 * @throws {HubError} it is not on the hub, or what arrived does not have the hub's hash
 */
export async function pull(source: string, folder: string, options: PullOptions = {}): Promise<Pulled> {
  const parsed = parseSource(source);
  if (parsed.kind === "path")
    throw new HubError(`cannot read ${JSON.stringify(source)} as hf:owner/name[/sub/path][@revision]`);
  const { name, subPath, revision } = parsed;
  const { settings, signal } = options;
  const repository = await openRepository("model", name, { revision, settings, signal });
  return pullFiles(repository, filesAt(repository, subPath), resolve(folder), options);
}

/** The same for files of an open repository. */
export async function pullFiles(
  repository: Repository,
  files: readonly RepositoryFile[],
  folder: string,
  options: PullOptions = {},
): Promise<Pulled> {
  const wanted = await absentFiles(files, folder);
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  const keptBytes = totalBytes - wanted.reduce((sum, { size }) => sum + size, 0);
  await mkdir(folder, { recursive: true });
  const onTheWay = join(folder, ON_THE_WAY);
  await downloadFiles({ ...repository, dir: onTheWay }, wanted, {
    folder,
    signal: options.signal,
    onProgress: ({ file, doneBytes }) =>
      options.onProgress?.({ file, doneBytes: keptBytes + doneBytes, totalBytes }),
  });
  await rm(onTheWay, { recursive: true, force: true });
  return { folder, commit: repository.commit, files, nKept: files.length - wanted.length };
}

async function absentFiles(files: readonly RepositoryFile[], folder: string): Promise<RepositoryFile[]> {
  const absent: RepositoryFile[] = [];
  for (const file of files) {
    const path = safeJoin(folder, file.path);
    if ((await stat(path).catch(() => null)) === null) absent.push(file);
    else if (!(await isWhole(path, file)))
      throw new StateError(
        `${path} is there, and is not what the hub has under this name`,
        "pull into another folder, or move the file away",
      );
  }
  return absent;
}
