/**
 * Where an SAE lies, brought to this disk. Of a repository only what may belong to the SAE is fetched: the files of its
 * folder (not of folders in it, where other SAEs may lie), or the one file that was named, and the JSON and YAML beside and
 * just above it, in which some formats say what the tensors mean.
 */
import { join, posix } from "node:path";
import { HubError } from "../errors.ts";
import { findSource, resolveSource } from "../hub/source.ts";

/** The local path of a folder, a file, or `hf:owner/name[/path][@revision]`. @throws {HubError} */
export async function localSae(location: string, options: { signal?: AbortSignal } = {}): Promise<string> {
  const source = await findSource(location);
  if (source.kind === "path") return location;
  const { name, subPath, revision } = source;
  const repository = `hf:${name}${revision === undefined ? "" : `@${revision}`}`;
  const folder = await resolveSource(repository, {
    ...options,
    choose(paths) {
      const chosen = partsOfSae(paths, subPath);
      const weights = chosen.filter((path) => WEIGHTS.test(path));
      if (weights.length > MAX_WEIGHTS)
        throw new HubError(
          `${name}/${subPath} holds ${weights.length} files of weights, which are no one SAE`,
          {
            hint: `name one of them: hf:${name}/${weights[0]}`,
          },
        );
      if (chosen.some((path) => isBelow(path, subPath))) return chosen;
      throw new HubError(`${name} has nothing at "${subPath}"`, {
        hint: `folders and files there: ${hereabouts(paths, subPath).slice(0, 20).join(", ")}`,
      });
    },
  });
  return subPath === "" ? folder : join(folder, ...subPath.split("/"));
}

/** Lies beside published SAEs, may be large, and is no part of them. */
const NOT_PART =
  /^(examples\.safetensors|optimizer.*|lr_scheduler.*|rank_.*\.pt|state\.pt|trainer_state\.pt|.*\.png)$/;
const WEIGHTS = /\.(safetensors|npz|pt|pth|bin)$/;
/** An SAE, its frequencies, its scaler, what its training left. More is a folder of SAEs. */
const MAX_WEIGHTS = 4;
const SAYS_WHAT_IT_IS = /\.(json|ya?ml)$/;
/** Files that a format keeps in a folder of their own. */
const INNER = ["checkpoints/final.safetensors"];

/** Of a repository's files those that an SAE at `subPath` may consist of. */
export function partsOfSae(paths: readonly string[], subPath: string): string[] {
  const isFile = paths.includes(subPath);
  const folder = isFile ? folderOf(subPath) : subPath;
  return paths.filter((path) => {
    if (path === subPath) return true;
    const [own, name] = [folderOf(path), posix.basename(path)];
    if (SAYS_WHAT_IT_IS.test(name)) return own === folder || (folder !== "" && own === folderOf(folder));
    if (isFile) return false;
    return (own === folder && !NOT_PART.test(name)) || INNER.includes(posix.relative(folder, path));
  });
}

function isBelow(path: string, subPath: string): boolean {
  return subPath === "" || path === subPath || path.startsWith(`${subPath}/`);
}

/** The names in the deepest folder of `subPath` that there is. */
function hereabouts(paths: readonly string[], subPath: string): string[] {
  for (let folder = folderOf(subPath); ; folder = folderOf(folder)) {
    const inner = paths.filter((path) => isBelow(path, folder)).map((path) => posix.relative(folder, path));
    if (inner.length > 0 || folder === "") return [...new Set(inner.map((path) => path.split("/")[0]))];
  }
}

function folderOf(path: string): string {
  const folder = posix.dirname(path);
  return folder === "." ? "" : folder;
}
