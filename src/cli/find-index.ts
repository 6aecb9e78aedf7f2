/** Which latent index a command is about: a folder of one, or a run that has one. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { DataError } from "../errors.ts";

/** @throws {DataError} there is none, or there are several */
export async function findIndex(path: string): Promise<string> {
  const isIndex = (dir: string) => existsSync(join(dir, "index.json"));
  const dir = resolve(path);
  if (isIndex(dir)) return dir;
  const folders = [dir, join(dir, "index")];
  const found: string[] = [];
  for (const folder of folders)
    for (const name of (await readdir(folder).catch(() => [])).sort())
      if (isIndex(join(folder, name))) found.push(join(folder, name));
  if (found.length === 1) return found[0];
  if (found.length === 0)
    throw new DataError(`${path} holds no latent index`, {
      hint: "make one: lapidary index <run>",
    });
  throw new DataError(
    `${path} holds ${found.length} indexes: ${found.map((one) => basename(one)).join(", ")}`,
    {
      hint: `name one of them, for example ${found[found.length - 1]}`,
    },
  );
}
