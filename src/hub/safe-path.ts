/** Joins names that others chose onto a folder of ours, and refuses those that would leave it, on any platform's rules. */
import { join } from "node:path";
import { HubError } from "../errors.ts";

/** True for a relative, `/`-separated path that stays in its folder on Linux, macOS and Windows alike. */
export function isSafePath(path: string): boolean {
  if (path === "" || path.length > 1024 || path.includes("\\") || hasControlCharacter(path)) return false;
  return path
    .split("/")
    .every(
      (part) => part !== "" && part !== "." && part !== ".." && !part.includes(":") && !/[. ]$/.test(part),
    );
}

/** `folder/path`. @throws {HubError} the path is absolute, has `..`, a drive, a backslash or a control character */
export function safeJoin(folder: string, path: string): string {
  if (!isSafePath(path))
    throw new HubError(`refused the path ${JSON.stringify(path)}: it would leave its folder`, {
      hint: "tell the repository's owner; nothing was written",
    });
  return join(folder, ...path.split("/"));
}

function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 32) return true;
  return false;
}
