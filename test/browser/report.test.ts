/**
 * The report in a real browser: Debian's Chromium, or the one that CHROMIUM names; where there is none, these tests are
 * skipped, and say so. Opens the page as a file, at several widths, light, dark and as for paper. Screenshots are left in
 * test-results/report.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderReport } from "../../src/report/report.ts";
import { madeUpFacts } from "./made-up-facts.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = fileURLToPath(new URL("../../test-results/report", import.meta.url));
/** A closed network refuses what Chromium asks of its maker at every start. */
const QUIET =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const isThere = existsSync(CHROMIUM);
if (!isThere)
  process.stderr.write(
    `## NOT TESTED IN A BROWSER: no Chromium at ${CHROMIUM}; apt-get install chromium, or set CHROMIUM\n`,
  );

interface View {
  readonly name: string;
  readonly width: number;
  readonly colorScheme?: "light" | "dark";
  readonly media?: "screen" | "print";
}

const VIEWS: readonly View[] = [
  { name: "desk", width: 1280 },
  { name: "desk-dark", width: 1280, colorScheme: "dark" },
  { name: "tablet", width: 768 },
  { name: "phone", width: 320 },
  { name: "paper", width: 794, media: "print" },
];

describe.skipIf(!isThere)("the report in Chromium", () => {
  let browser: Browser;
  let folder: string;
  let url: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lapidary-report-"));
    await mkdir(SCREENSHOTS, { recursive: true });
    const path = join(folder, "index.html");
    await writeFile(path, await renderReport(madeUpFacts({}, [2, 29])));
    url = pathToFileURL(path).href;
    browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET.split(" ") });
  });

  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Opens the page; everything it says to the console, every error and every request but its own. */
  async function open(view: View, javaScriptEnabled = true): Promise<{ page: Page; trouble: string[] }> {
    const context = await browser.newContext({
      viewport: { width: view.width, height: 900 },
      colorScheme: view.colorScheme ?? "light",
      javaScriptEnabled,
    });
    const page = await context.newPage();
    const trouble: string[] = [];
    page.on("console", (message) => trouble.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => trouble.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => {
      trouble.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (request.url() !== url) trouble.push(`request: ${request.url()}`);
    });
    if (view.media !== undefined) await page.emulateMedia({ media: view.media });
    await page.goto(url);
    return { page, trouble };
  }

  it.each(VIEWS)("$name: no error, no request, nothing too wide, every text to be read", async (view) => {
    const { page, trouble } = await open(view);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(view.width);
    expect(await page.evaluate(LOW_CONTRAST)).toEqual([]);
    await page.screenshot({ path: join(SCREENSHOTS, `${view.name}.png`), fullPage: true });
    await page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })");
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(view.width);
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("no text of a chart lies over another, and none leaves its chart by more than a few units", async () => {
    const { page } = await open(VIEWS[0]);
    expect(await page.evaluate(COLLISIONS)).toEqual([]);
    await page.context().close();
  });

  it("shows one layer at a time, and all of them again", async () => {
    const { page, trouble } = await open(VIEWS[0]);
    const visible = () =>
      page
        .locator("[data-layer]:visible")
        .evaluateAll((parts) => [...new Set(parts.map((part) => part.getAttribute("data-layer")))]);
    expect(await visible()).toEqual(["2", "29"]);
    await page.getByRole("button", { name: "Layer 29" }).click();
    expect(await visible()).toEqual(["29"]);
    await page.getByRole("button", { name: "All layers" }).click();
    expect(await visible()).toEqual(["2", "29"]);
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("without scripts everything is there, and no control that does nothing", async () => {
    const { page } = await open(VIEWS[0], false);
    expect(await page.locator("section:visible").count()).toBe(12);
    expect(await page.locator("button").count()).toBe(0);
    await page.context().close();
  });

  it("tells assistive technology the language, landmarks, headings and what each chart is", async () => {
    const { page } = await open(VIEWS[0]);
    expect(await page.getAttribute("html", "lang")).toBe("en");
    expect(await page.title()).toBe("SAEs for a made-up model: report");
    expect(await page.getByRole("heading", { level: 1 }).innerText()).toBe(
      "The source SAE does not fit somebody/a-model-4-e4b-it. The adapted one does.",
    );
    for (const role of ["banner", "main", "contentinfo", "navigation"] as const)
      expect(await page.getByRole(role).count()).toBe(1);
    const [figures, charts] = [await page.locator("figure").count(), await page.locator("svg.chart").count()];
    expect(charts).toBeGreaterThanOrEqual(figures);
    expect(await page.getByRole("img", { name: /./ }).count()).toBe(charts);
    expect(await page.locator("figure > details table").count()).toBe(figures);
    await page.context().close();
  });
});

/** In the page: texts whose colour is too near their ground's, as "ratio text". */
const LOW_CONTRAST = `(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || element.closest("title, desc, script, style") || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element);
    const colour = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(colour), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.add(ratio.toFixed(2) + " " + element.textContent.trim().slice(0, 30));
  }
  return [...bad];
})()`;

/** In the page: pairs of overlapping texts of one chart, and texts that leave it. */
const COLLISIONS = `(() => {
  const bad = [];
  for (const chart of document.querySelectorAll("svg.chart")) {
    const frame = chart.getBoundingClientRect();
    const name = chart.querySelector("title").textContent;
    const texts = [...chart.querySelectorAll("text")].map((element) => ({ text: element.firstChild?.textContent ?? "", box: element.getBoundingClientRect() }));
    texts.forEach(({ text, box }, i) => {
      if (box.left < frame.left - 6 || box.right > frame.right + 8 || box.top < frame.top - 4 || box.bottom > frame.bottom + 4)
        bad.push(name + ": " + text + " leaves its chart");
      for (const other of texts.slice(i + 1)) {
        const width = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const height = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
        if (width > 1 && height > 5) bad.push(name + ": " + text + " and " + other.text);
      }
    });
  }
  return bad;
})()`;
