/**
 * `card.json`: what a run's card says that no result file holds: links to pages elsewhere, under which licence the run was
 * published, and what the source SAE's repository declares. Kept so that every later card says it too.
 */
import { z } from "zod";
import { FormatError, RecipeError } from "../errors.ts";
import { writeJson } from "../storage/atomic.ts";
import { readJsonIfPresent } from "../storage/json.ts";
import type { RunDirectory } from "./run-directory.ts";

const link = z.strictObject({
  name: z.string().regex(/^[\w][\w .-]{0,63}$/),
  url: z.string().refine(isHttps),
});

const notes = z.strictObject({
  format: z.literal("lapidary-card-notes"),
  version: z.literal(1),
  license: z.string().nullable(),
  sourceLicense: z.strictObject({ declared: z.string().nullable() }).nullable(),
  links: z.array(link).max(100),
});

/** `license`: named when it was published, where the recipe names none. `sourceLicense` null: not looked up. */
export type CardNotes = z.infer<typeof notes>;
export type CardLink = z.infer<typeof link>;

const NONE: CardNotes = {
  format: "lapidary-card-notes",
  version: 1,
  license: null,
  sourceLicense: null,
  links: [],
};

/** What is noted; without a file, nothing. @throws {FormatError} the file holds something else */
export async function readCardNotes({ cardNotes: path }: RunDirectory): Promise<CardNotes> {
  const json = await readJsonIfPresent<unknown>(path);
  if (json === undefined) return NONE;
  const parsed = notes.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FormatError(path, `not the notes of a card: ${issue.path.join(".") || "it"}: ${issue.message}`);
}

/** Writes the notes, if they are others than those that are there. */
export async function writeCardNotes(dir: RunDirectory, changed: CardNotes): Promise<void> {
  if (JSON.stringify(await readCardNotes(dir)) !== JSON.stringify(changed))
    await writeJson(dir.cardNotes, changed);
}

/** `name=https://…` as a link. @throws {RecipeError} it is none */
export function parseLink(text: string): CardLink {
  const at = text.indexOf("=");
  const parsed = link.safeParse({ name: text.slice(0, Math.max(at, 0)), url: text.slice(at + 1) });
  if (at > 0 && parsed.success) return parsed.data;
  throw new RecipeError(
    `cannot read ${JSON.stringify(text)} as a link`,
    "name=https://…, for instance neuronpedia=https://www.neuronpedia.org/my-model; no user, password or spaces in it",
  );
}

/** `links` with `more`, which take the place of those of the same name. */
export function withLinks(links: readonly CardLink[], more: readonly CardLink[]): CardLink[] {
  const all = new Map([...links, ...more].map((each) => [each.name, each]));
  return [...all.values()];
}

/** An absolute https address that stays one inside Markdown's brackets, and holds no secret. */
function isHttps(text: string): boolean {
  if (text.length > 2000 || /[\s<>()[\]"'`\\{}|^]/.test(text) || !URL.canParse(text)) return false;
  const { protocol, username, password, hostname } = new URL(text);
  return protocol === "https:" && username === "" && password === "" && /\w\.\w/.test(hostname);
}
