/**
 * `npm run bench -- page`: how fast the page stands, and answers, with 65 536 latents, in Chromium on this machine. The site is
 * made up; the browser starts with nothing cached, and the files come from this machine over HTTP. Prints JSON; `--save`
 * keeps it in bench/results.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { provenance, saveFigures } from "../../src/bench/provenance.ts";
import { makeSite } from "../../test/dashboard/made-up-site.ts";
import { type SiteServer, serveSite } from "../../test/dashboard/site-server.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUIET =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
const RESULTS = fileURLToPath(new URL("../results", import.meta.url));

/** Address, and what has to be there. */
const VIEWS = {
  overview: ["#/", ".results"],
  latents: ["#/latents/layer-4", "[role=grid] tbody tr"],
  latent: ["#/latent/layer-4/4096", ".contexts .token"],
} as const;
const WORDS = ["river", "money", "bank of", "nothing at all", "1234"];
const HEADINGS = ["Density", "Drift", "Label", "Max act"];

export async function page(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      latents: { type: "string", default: "65536" },
      repeats: { type: "string", default: "7" },
      save: { type: "boolean", default: false },
    },
  });
  const nLatents = Number(values.latents);
  const folder = await mkdtemp(join(tmpdir(), "lapidary-bench-page-"));
  let server: SiteServer | undefined;
  let browser: Browser | undefined;
  try {
    await makeSite({ folder, nLatents, detailEvery: 64 });
    server = await serveSite(folder);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET.split(" ") });
    const figures = {
      bench: "page",
      tokensPerSecond: null,
      /** runnable processes a core, last minute: above 1, other work took part of the time */
      loadPerCore: Math.round((100 * loadavg()[0]) / availableParallelism()) / 100,
      nLatents,
      repeats: Number(values.repeats),
      chromium: browser.version(),
      definitions: DEFINITIONS,
      views: await timeViews(browser, server.url, Number(values.repeats)),
      search: await timeSearch(browser, server.url),
    };
    const stored = { ...(await provenance()), ...figures };
    process.stdout.write(`${JSON.stringify(stored, null, 2)}\n`);
    if (values.save) await saveFigures(RESULTS, String(nLatents), stored);
    return 0;
  } finally {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const DEFINITIONS = {
  firstPaintMs: "first contentful paint after navigation, nothing cached",
  standsMs: "until what the view is about is there: the results, the list's rows, the examples",
  keystrokeMs: "from a letter typed into the search field until the list that it leads to is painted",
  sortMs: "from a heading pressed until the sorted list is painted; first: sorted for the first time",
};

async function timeViews(browser: Browser, url: string, repeats: number) {
  const times: Record<string, { firstPaintMs: Summary; standsMs: Summary }> = {};
  for (const [name, [address, ready]] of Object.entries(VIEWS)) {
    const [paint, stands]: [number[], number[]] = [[], []];
    for (let i = 0; i < repeats; i++) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
      const tab = await context.newPage();
      await tab.addInitScript(watchFor(ready));
      await tab.goto(`${url}${address}`);
      await tab.locator(ready).first().waitFor({ timeout: 120_000 });
      const [first, whole] = await tab.evaluate<[number, number]>(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime, window.stands]",
      );
      paint.push(first);
      stands.push(whole);
      await context.close();
    }
    times[name] = { firstPaintMs: summary(paint), standsMs: summary(stands) };
  }
  return times;
}

/** Notes the time at which an element is there. */
const watchFor = (ready: string) =>
  `new MutationObserver((_, watch) => {
     if (document.querySelector(${JSON.stringify(ready)}) === null) return;
     window.stands = performance.now();
     watch.disconnect();
   }).observe(document, { childList: true, subtree: true });`;

async function timeSearch(browser: Browser, url: string) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const tab = await context.newPage();
  await tab.goto(`${url}#/latents/layer-4`);
  await tab.locator("[role=grid] tbody tr").first().waitFor({ timeout: 120_000 });
  const [keystrokes, first, again]: [number[], number[], number[]] = [[], [], []];
  for (const word of WORDS) {
    for (let n = 1; n <= word.length; n++) keystrokes.push(await untilPainted(tab, TYPE(word.slice(0, n))));
    await untilPainted(tab, TYPE(""));
  }
  for (const heading of HEADINGS) first.push(await untilPainted(tab, PRESS(heading)));
  for (const heading of HEADINGS) again.push(await untilPainted(tab, PRESS(heading)));
  await context.close();
  return { keystrokeMs: summary(keystrokes), sortMs: { first: summary(first), again: summary(again) } };
}

const TYPE = (text: string) =>
  `const field = document.querySelector("input[type=search]"); field.value = ${JSON.stringify(text)}; field.dispatchEvent(new Event("input", { bubbles: true }));`;
const PRESS = (heading: string) =>
  `[...document.querySelectorAll(".sorter")].find((one) => one.textContent.startsWith(${JSON.stringify(heading)})).click();`;

/** Milliseconds from an action until the frame after the one in which the list it leads to was drawn. */
function untilPainted(tab: Page, action: string): Promise<number> {
  return tab.evaluate<number>(`(async () => {
    const frame = () => new Promise((next) => requestAnimationFrame(next));
    await frame();
    const began = performance.now();
    const address = location.hash;
    ${action}
    if (location.hash !== address) {
      const drawn = new Promise((done) => new MutationObserver((_, watch) => { watch.disconnect(); done(); }).observe(document.querySelector("main"), { childList: true, subtree: true, attributes: true, characterData: true }));
      await drawn;
    }
    await frame();
    await new Promise((next) => setTimeout(next));
    return performance.now() - began;
  })()`);
}

interface Summary {
  readonly least: number;
  readonly median: number;
  readonly most: number;
  readonly n: number;
}

function summary(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const round = (value: number) => Math.round(value * 10) / 10;
  return {
    least: round(sorted[0]),
    median: round(sorted[Math.floor(sorted.length / 2)]),
    most: round(sorted[sorted.length - 1]),
    n: sorted.length,
  };
}
