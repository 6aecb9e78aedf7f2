/** A token as it is shown: nothing invisible, nothing endless. */
import { visibleSpaces, visibleText } from "../../../src/report/visible-text.ts";

const LONGEST = 120;

export function tokenText(token: string): string {
  const letters = token.length > LONGEST ? `${[...token.slice(0, LONGEST)].join("")}…` : token;
  return visibleSpaces(visibleText(letters));
}

/** The same in quotation marks, spaces shown, for tables and for what is read aloud. */
export function quotedToken(token: string): string {
  return `“${tokenText(token).replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length))}”`;
}
