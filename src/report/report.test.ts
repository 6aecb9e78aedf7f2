/** The page as text: what it must hold, and what it must not, whatever the facts are. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { HOSTILE, madeUpFacts } from "../../test/browser/made-up-facts.ts";
import { renderReport } from "./report.ts";

const facts = madeUpFacts();
const page = await renderReport(facts);

/** What of a page matches: short where a test fails, which the page is not. */
function found(pattern: RegExp, text = page): string[] {
  return text.match(pattern)?.slice(0, 5) ?? [];
}

it("is under 2 MB at three layers, each with three sets and 65 536 latents", () => {
  expect(facts.layers).toHaveLength(3);
  expect(Buffer.byteLength(page)).toBeLessThan(2 * 1024 * 1024);
});

it("lets nothing in but its own style and script, by their hashes, and refers to nothing outside", () => {
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/
    .exec(page)?.[1]
    .replaceAll("&#39;", "'");
  const hashOf = (element: string) => {
    const [, text] = page.split(new RegExp(`</?${element}>`));
    return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  };
  expect(policy?.split("; ")).toEqual([
    "default-src 'none'",
    `style-src ${hashOf("style")}`,
    `script-src ${hashOf("script")}`,
    "base-uri 'none'",
    "form-action 'none'",
  ]);
  expect(found(/<[^>]*\b(src|xlink:href|style)=|url\(|@import|<link|<iframe|javascript:/g)).toEqual([]);
  expect([...page.matchAll(/href="([^"]*)"/g)].every(([, target]) => target.startsWith("#"))).toBe(true);
});

it("shows text from data, and runs none of it", () => {
  expect(page.match(/<script/g)).toHaveLength(1);
  expect(found(/<img/g)).toEqual([]);
  expect(page.includes("&lt;/td&gt;&lt;script&gt;alert(&quot;x&quot;)")).toBe(true);
  for (const harmful of [HOSTILE.slice(0, 20), "\u0007", "\u202e"])
    expect(page.includes(harmful)).toBe(false);
});

it("has every figure with a title, a chart that is told in words, and the numbers behind it", () => {
  const figures = page.split("<figure").slice(1);
  expect(figures.length).toBeGreaterThan(40);
  for (const figure of figures) {
    expect(figure).toMatch(/<figcaption><strong class="title">[^<]+/);
    expect(figure).toMatch(/<svg class="chart"[^>]* role="img"><title>[^<]+<\/title><desc>[^<]+<\/desc>/);
    expect(figure).toMatch(/<summary>The numbers<\/summary>[\s\S]*<tbody><tr>/);
  }
  expect(found(/NaN|undefined|Infinity|\[object/g)).toEqual([]);
});

it("counts that stay at 0 stand on an axis of whole numbers from 0", async () => {
  const facts = madeUpFacts({}, [2]);
  const layers = facts.layers.map((layer) => ({
    ...layer,
    trainings: layer.trainings.map((training) => ({
      ...training,
      metrics: training.metrics.map((line) => ({ ...line, dead: 0 })),
    })),
  }));
  const [, chart = ""] = (await renderReport({ ...facts, layers })).split(
    "<title>Dead latents over training",
  );
  const axis = chart.slice(chart.indexOf("latents dead by"), chart.indexOf("</g>"));
  expect([...axis.matchAll(/text-anchor="end">([^<]+)</g)].map(([, label]) => label)).toEqual([
    "0",
    "1",
    "2",
    "3",
    "4",
  ]);
});

it("names headings in order, and every link of the contents leads to one", () => {
  const levels = [...page.matchAll(/<h([1-6])/g)].map(([, level]) => Number(level));
  expect(levels[0]).toBe(1);
  expect(levels.filter((level) => level === 1)).toHaveLength(1);
  levels.slice(1).forEach((level, i) => {
    expect(level - levels[i]).toBeLessThanOrEqual(1);
  });
  for (const [, id] of page.matchAll(/href="#([^"]*)"/g))
    expect([id, page.includes(`<section id="${id}"`)]).toEqual([id, true]);
});

it("marks the rollback, the resampling and the note, and lists them", () => {
  for (const kind of ["rollback", "resampling", "note"])
    expect([kind, page.includes(`class="moment ${kind}"`)]).toEqual([kind, true]);
  expect(found(/held-out VE fell from 0.8400 to 0.7000/)).toHaveLength(1);
  expect(found(/held-out VE has not risen for 300 steps/)).toHaveLength(1);
});

it("tells of a resampling what was simulated and what was seen", () => {
  const [row] = found(/<tr><th scope="row">2<\/th><td>400<\/td>.*<\/tr>/);
  expect(row?.replace(/<[^>]*>/g, "|").replaceAll("\u202f", " ")).toBe(
    "||2||400||200||180||9.00 %||0.8600 → 0.8610||31.0 %||1.080 → 1.400||0.8400 → 0.7000||",
  );
});

it("says in one place what a run has no data for", async () => {
  const layers = facts.layers.map((layer) => ({
    ...layer,
    movement: null,
    trainings: [],
    measurements: layer.measurements.map((entry) => ({
      ...entry,
      change: null,
      result: { ...entry.result, outliers: null, slices: [], intervals: null },
    })),
  }));
  const bare = await renderReport({ ...facts, layers, splices: [] });
  const said = /<section id="left-out"[\s\S]*?<p class="absent">([^<]*)</.exec(bare)?.[1];
  expect(said).toBe(
    "This run has no data for “Which tokens carry the error”, “The worst tokens in context”, “Where it fits and where it does not”, “What the model predicts with the SAE spliced in”, “How training went” and “Latents that moved most”.",
  );
  expect(found(/These results have no confidence intervals\./, bare)).toHaveLength(1);
  expect(found(/NaN|undefined|id="training"/g, bare)).toEqual([]);
});

it("is the same page for the same facts", async () => {
  expect((await renderReport(madeUpFacts())) === page).toBe(true);
});
