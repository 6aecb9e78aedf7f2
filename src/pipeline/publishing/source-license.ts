/** The licence of the SAEs that a run starts from, as their repository declares it. */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cardHeader, MAX_CARD_BYTES } from "../../hub/card-header.ts";
import { downloadFile } from "../../hub/download.ts";
import { openRepository } from "../../hub/repository.ts";
import type { HubSettings } from "../../hub/settings.ts";
import { parseSource } from "../../hub/source.ts";
import { type LoadedRecipe, resolvePath } from "../recipe/file.ts";

/**
 * `license` in the header of the source's card: of its repository on the hub, or of its folder here or the one above.
 * Null from scratch, where none is declared, and where the sources of several layers do not agree.
 */
export async function declaredLicense(
  { recipe, folder }: LoadedRecipe,
  settings: HubSettings,
): Promise<string | null> {
  if (!("from" in recipe.sae)) return null;
  const { from } = recipe.sae;
  const sources = recipe.layers.map((layer) =>
    resolvePath(from.replaceAll("{layer}", String(layer)), folder),
  );
  const declared = await Promise.all([...new Set(sources)].map((source) => licenseOf(source, settings)));
  return new Set(declared).size === 1 ? declared[0] : null;
}

async function licenseOf(source: string, settings: HubSettings): Promise<string | null> {
  const card = await cardOf(source, settings);
  if (card === null) return null;
  const { license, license_name: name } = cardHeader(card);
  const said = license === "other" && typeof name === "string" ? name : license;
  return typeof said === "string" && said !== "" ? said : null;
}

async function cardOf(source: string, settings: HubSettings): Promise<string | null> {
  const isHere = (await stat(source).catch(() => null)) !== null;
  const parsed = parseSource(isHere || source.startsWith("hf:") ? source : `hf:${source}`);
  if (parsed.kind === "path") {
    for (const folder of [source, dirname(source)]) {
      const path = join(folder, "README.md");
      const size = (await stat(path).catch(() => null))?.size ?? 0;
      if (size > 0 && size <= MAX_CARD_BYTES) return readFile(path, "utf8");
    }
    return null;
  }
  const { name, revision } = parsed;
  const repository = await openRepository("model", name, { revision, settings });
  const card = repository.files.find(({ path }) => path === "README.md");
  if (card === undefined || card.size > MAX_CARD_BYTES) return null;
  return readFile(await downloadFile(repository, card), "utf8");
}
