/**
 * The report of a run as one HTML page that opens offline: styles, script and charts are in it, and its content security
 * policy lets nothing else in. A pure function of facts; what a run did not measure is said in a line, never drawn.
 */
import type { ReportFacts } from "./facts.ts";
import { absent, type Section, section } from "./figure.ts";
import { html, Markup } from "./html.ts";
import { count, listOf } from "./numbers.ts";
import { SCRIPT } from "./script.ts";
import { firingSection } from "./sections/firing.ts";
import { fitSection } from "./sections/fit.ts";
import { incidentsSection } from "./sections/incidents.ts";
import { movementSection } from "./sections/movement.ts";
import { outliersSection } from "./sections/outliers.ts";
import { definitionsSection, provenanceSection, thresholdsSection } from "./sections/reference.ts";
import { slicesSection } from "./sections/slices.ts";
import { spliceSection } from "./sections/splice.ts";
import { trainingSection } from "./sections/training.ts";
import { worstTokensSection } from "./sections/worst-tokens.ts";
import { STYLE } from "./style.ts";
import { headline, veRange } from "./verdict.ts";

const SECTIONS: readonly ((facts: ReportFacts) => Section)[] = [
  fitSection,
  outliersSection,
  worstTokensSection,
  slicesSection,
  spliceSection,
  trainingSection,
  incidentsSection,
  firingSection,
  movementSection,
  thresholdsSection,
  definitionsSection,
  provenanceSection,
];

/** The whole page. Asynchronous only because Web Crypto, which hashes script and style for the policy, is. */
export async function renderReport(facts: ReportFacts): Promise<string> {
  const made = SECTIONS.map((make) => make(facts));
  const sections = [...made.filter(({ body }) => body !== null), ...leftOut(made)];
  const policy = [
    "default-src 'none'",
    `style-src '${await sourceHash(STYLE)}'`,
    `script-src '${await sourceHash(SCRIPT)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${facts.title}: report</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
<p class="run">Lapidary report · ${facts.title} · layer${facts.layers.length === 1 ? "" : "s"} ${listOf(facts.layers.map(({ layer }) => layer))}</p>
<h1>${title(facts)}</h1>
<p class="lead">${lead(facts)}</p>
<nav aria-label="Contents"><ol>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ol></nav>
</header>
<main>
${sections.map(section)}</main>
<footer><p>Made by Lapidary from the files of the run alone. Every number stands with its definition, its sample size and the hashes of what it was measured on.</p></footer>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`;
  return page.text;
}

/** The headline; the model's name, with the stop or comma after it, is in one piece. */
function title(facts: ReportFacts): Markup {
  const [first, ...rest] = headline(facts).split(facts.model);
  const pieces = rest.map((part) => {
    const stop = /^[.,]?/.exec(part)?.[0] ?? "";
    return html`<span class="name">${facts.model}${stop}</span>${part.slice(stop.length)}`;
  });
  return html`${first}${pieces}`;
}

/** What the run has no data for, in one line. */
function leftOut(made: readonly Section[]): Section[] {
  const titles = made.filter(({ body }) => body === null).map(({ title }) => `“${title}”`);
  if (titles.length === 0) return [];
  const body = absent(`This run has no data for ${listOf(titles)}.`);
  return [{ id: "left-out", title: "What is not shown", body }];
}

/** The ranges behind the headline, and how much they rest on. */
function lead(facts: ReportFacts): string {
  const [home, before, after] = (["home", "before", "after"] as const).map((phase) => veRange(facts, phase));
  const parts = [
    ...(before === null ? [] : [`Variance explained by the source SAE: ${before}`]),
    ...(home === null ? [] : [`on the model it was made for: ${home}`]),
    ...(after === null ? [] : [`by the ${facts.source === null ? "trained" : "adapted"} SAE: ${after}`]),
  ];
  const tokens = facts.sets.flatMap(({ name }) => {
    const found = facts.layers.flatMap(({ measurements }) => measurements).find(({ set }) => set === name);
    return found === undefined || found.isDomain ? [] : [`${count(found.result.nTokens)} tokens of ${name}`];
  });
  return `${parts.join("; ")}. Measured on ${listOf(tokens)}${facts.isImported ? "" : ", which training did not see"}.`;
}

/** What a content security policy calls an inline script or style. */
async function sourceHash(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256-${btoa(String.fromCharCode(...digest))}`;
}
