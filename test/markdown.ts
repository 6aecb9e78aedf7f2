/** A Markdown text looked at as a reader's program would: its style, and whether its links lead somewhere. */
import { lint } from "markdownlint/promise";

/** Rules of style that say nothing of whether a text is read as it was meant. */
const STYLE = { MD013: false, MD060: false } as const;

/** What is wrong with a text, one line each. */
export async function markdownProblems(text: string): Promise<string[]> {
  const { text: found } = await lint({ strings: { text }, config: { default: true, ...STYLE } });
  return found.map(
    ({ lineNumber, ruleNames, ruleDescription, errorDetail }) =>
      `line ${lineNumber}: ${ruleNames.join("/")} ${ruleDescription} ${errorDetail ?? ""}`,
  );
}

/** The targets of its links; header, code and what is escaped left out. */
export function linksOf(text: string): string[] {
  const prose = text
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .replace(/^(```+)[\s\S]*?^\1$/gm, "")
    .replace(/\\[^\n]/g, "")
    .replace(/(`+)[\s\S]*?\1/g, "");
  return [...prose.matchAll(/\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)/g)].map(([, target]) => target);
}

/** Anchors that the hub, as GitHub, gives its headings. */
export function anchorsOf(text: string): Set<string> {
  const prose = text.replace(/^(```+)[\s\S]*?^\1$/gm, "");
  const seen = new Map<string, number>();
  return new Set(
    [...prose.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => {
      const slug = heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replace(/\s/g, "-");
      const n = seen.get(slug) ?? 0;
      seen.set(slug, n + 1);
      return n === 0 ? slug : `${slug}-${n}`;
    }),
  );
}

/**
 * Links that lead nowhere: relative ones to what `hasFile` does not know, anchors that no heading has, absolute ones that
 * are no https address. `anchorsIn`: those of another text, by its path.
 */
export function brokenLinks(
  text: string,
  hasFile: (path: string) => boolean,
  anchorsIn: (path: string) => Set<string> = () => new Set(),
): string[] {
  return linksOf(text).filter((link) => {
    if (/^[a-z][a-z0-9+.-]*:/i.test(link))
      return !(
        URL.canParse(link) &&
        new URL(link).protocol === "https:" &&
        /\w\.\w/.test(new URL(link).host)
      );
    const [path, anchor] = decodeURI(link).split("#");
    if (path !== "" && !hasFile(path)) return true;
    return anchor !== undefined && !(path === "" ? anchorsOf(text) : anchorsIn(path)).has(anchor);
  });
}
