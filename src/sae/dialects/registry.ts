/** All dialects, in the order in which they are asked; a place that several could claim belongs to the first. */
import { FormatError } from "../../errors.ts";
import type { Dialect } from "./dialect.ts";
import { openPlace, type Place } from "./place.ts";
import { saelens } from "./saelens.ts";

export const DIALECTS: readonly Dialect[] = [saelens];

/** The dialect of what lies at a path. @throws {FormatError} there is nothing, or nothing that is known */
export async function recognise(location: string): Promise<{ dialect: Dialect; place: Place }> {
  const place = await openPlace(location);
  for (const dialect of DIALECTS) if (await dialect.recognises(place)) return { dialect, place };
  throw new FormatError(place.path, "no SAE in a format that Lapidary reads", {
    hint: `name the folder or file of one SAE: ${DIALECTS.map(({ name, files }) => `${files} (${name})`).join("; ")}`,
  });
}
