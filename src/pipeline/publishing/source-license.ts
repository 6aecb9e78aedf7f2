/** The licence of the SAEs that a run starts from, as their repository declares it. */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cardHeader, MAX_CARD_BYTES } from "../../hub/card-header.ts";
import { downloadFile } from "../../hub/download.ts";
import { openRepository } from "../../hub/repository.ts";
import { type HubSettings, hubSettings } from "../../hub/settings.ts";
import { parseSource } from "../../hub/source.ts";
import type { CardNotes } from "../card-notes.ts";
import { type LoadedRecipe, resolvePath } from "../recipe/file.ts";
import type { Recipe } from "../recipe/recipe.ts";

/**
 * `license` in the header of the source's card: of its repository on the hub, or of its folder here or the one above.
 * Null from scratch, where none is declared, and where the sources of several layers do not agree.
 */
export async function declaredLicense(loaded: LoadedRecipe, settings: HubSettings): Promise<string | null> {
  const declared: (string | null)[] = [];
  // one after the other: layers of one repository share its card, and a file is fetched by one at a time
  for (const source of sourcesOf(loaded)) declared.push(await licenseAt(source, settings));
  return new Set(declared).size === 1 ? declared[0] : null;
}

/** The same without asking the hub; null: a source lies there, or there is none. */
export async function localLicense(loaded: LoadedRecipe): Promise<{ declared: string | null } | null> {
  for (const source of sourcesOf(loaded)) if (!(await isHere(source))) return null;
  return "from" in loaded.recipe.sae ? { declared: await declaredLicense(loaded, hubSettings()) } : null;
}

/** Under which licence the SAEs are published: the one last named in publishing, the recipe's, else the source's. */
export function licenseOf(
  { output }: Recipe,
  { license }: Pick<CardNotes, "license">,
  source: { readonly declared: string | null } | null,
): string | null {
  return license ?? output.license ?? source?.declared ?? null;
}

/** Where the SAEs of the recipe's layers lie; empty from scratch. */
function sourcesOf({ recipe, folder }: LoadedRecipe): string[] {
  if (!("from" in recipe.sae)) return [];
  const { from } = recipe.sae;
  return [
    ...new Set(recipe.layers.map((layer) => resolvePath(from.replaceAll("{layer}", String(layer)), folder))),
  ];
}

async function isHere(source: string): Promise<boolean> {
  return (await stat(source).catch(() => null)) !== null;
}

async function licenseAt(source: string, settings: HubSettings): Promise<string | null> {
  const card = await cardOf(source, settings);
  if (card === null) return null;
  const { license, license_name: name } = cardHeader(card);
  const said = license === "other" && typeof name === "string" ? name : license;
  return typeof said === "string" && said !== "" ? said : null;
}

async function cardOf(source: string, settings: HubSettings): Promise<string | null> {
  const parsed = parseSource((await isHere(source)) || source.startsWith("hf:") ? source : `hf:${source}`);
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
