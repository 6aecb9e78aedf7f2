/**
 * The page in a real browser, on a made-up site: every view, light and dark, on a desk and on a phone, without an error and
 * clean by axe; and every action, by pointer and by keyboard. Screenshots are left in test-results/page. Skipped, and said
 * so, where there is no Chromium.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildPage } from "../../scripts/setup.mjs";
import type { Site } from "../../src/dashboard/site.ts";
import { FIRST_HOSTILE, HOSTILE, LIVE, makeSite } from "../dashboard/made-up-site.ts";
import { type SiteServer, serveSite } from "../dashboard/site-server.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SCREENSHOTS = join(ROOT, "test-results/page");
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const QUIET =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const isThere = existsSync(CHROMIUM);
if (!isThere)
  process.stderr.write(
    `## NOT TESTED IN A BROWSER: no Chromium at ${CHROMIUM}; apt-get install chromium, or set CHROMIUM\n`,
  );

const TEXT = encodeURIComponent("He said <b>bank</b>\nof the river.");
/** Address, and what is there once the view stands. */
const VIEWS: Readonly<Record<string, readonly [string, string]>> = {
  overview: ["#/", "canvas"],
  latents: ["#/latents/layer-4?sort=density&dir=down", "[role=grid] tbody tr"],
  latent: ["#/latent/layer-4/7", ".contexts .token"],
  beside: [
    "#/latent/layer-4/7?beside=layer-4-before/7",
    ".side-by-side section:nth-child(2) .contexts .token",
  ],
  compare: ["#/compare/layer-4-before/layer-4", "[role=grid] tbody tr"],
  try: [`#/try/layer-4?text=${TEXT}&token=3`, ".encoded .token"],
  steer: ["#/steer/layer-4?do=add:7:4;ablate:9&text=Once", ".intervention"],
};

describe.skipIf(!isThere)("the page in Chromium", () => {
  let browser: Browser;
  let folder: string;
  let server: SiteServer;
  let exported: SiteServer;
  let axe: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lapidary-page-"));
    await mkdir(SCREENSHOTS, { recursive: true });
    axe = await readFile(AXE, "utf8");
    await buildPage({ root: ROOT, verbose: false, log: () => {} });
    const site: Site = await makeSite({ folder, nLatents: 400 });
    server = await serveSite(folder, { site: { ...site, live: LIVE, notLive: null } });
    exported = await serveSite(folder, { ranges: false, path: "another/place" });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET.split(" ") });
  });

  afterAll(async () => {
    await browser?.close();
    await Promise.all([server?.close(), exported?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  /** Opens an address; everything the page says to the console, every error, and every request to elsewhere. */
  async function open(
    address: string,
    ready?: string,
    from = server,
  ): Promise<{ page: Page; trouble: string[] }> {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    const trouble: string[] = [];
    page.on("console", (message) => trouble.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => trouble.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => {
      trouble.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(from.url)) trouble.push(`request: ${request.url()}`);
    });
    await page.goto(`${from.url}${address}`);
    if (ready !== undefined) await page.locator(ready).first().waitFor();
    return { page, trouble };
  }

  /** By axe: all rules, or the contrast of colours alone. */
  async function violations(page: Page, only?: "color-contrast"): Promise<string[]> {
    await page.evaluate(axe);
    const options = { resultTypes: ["violations"], ...(only === undefined ? {} : { runOnly: [only] }) };
    const found = await page.evaluate<{
      violations: { id: string; nodes: { target: string[]; html: string }[] }[];
    }>(`axe.run(document, ${JSON.stringify(options)})`);
    return found.violations.map(
      ({ id, nodes }) => `${id}: ${nodes[0].target.join(" ")} ${nodes[0].html.slice(0, 120)}`,
    );
  }
  const widthOf = (page: Page) => page.evaluate("document.documentElement.scrollWidth");
  const hash = (page: Page) => decodeURIComponent(new URL(page.url()).hash);

  it.each(Object.entries(VIEWS))(
    "%s: no error, clean by axe in light and dark, fits a phone",
    async (name, [address, ready]) => {
      const { page, trouble } = await open(address, ready);
      expect(await violations(page)).toEqual([]);
      expect(await widthOf(page)).toBe(1280);
      await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
      // two latents side by side have no colour that one alone has not
      if (name !== "beside") {
        await page.emulateMedia({ colorScheme: "dark" });
        expect(await violations(page, "color-contrast")).toEqual([]);
        await page.screenshot({ path: join(SCREENSHOTS, `${name}-dark.png`) });
        await page.emulateMedia({ colorScheme: "light" });
      }
      await page.setViewportSize({ width: 320, height: 740 });
      expect(await widthOf(page)).toBe(320);
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-phone.png`), fullPage: true });
      expect(await page.locator("h1").count()).toBe(1);
      expect(trouble).toEqual([]);
      await page.context().close();
    },
  );

  it("a list is searched, sorted and walked by keyboard; its address brings it back", async () => {
    const { page, trouble } = await open("#/latents/layer-4", "[role=grid] tbody tr");
    await page.getByRole("searchbox", { name: /Label/ }).fill("river");
    await page
      .getByText(/^\d+ of 400 latents$/)
      .first()
      .waitFor();
    await page.getByRole("button", { name: "Density" }).click();
    expect(hash(page)).toBe("#/latents/layer-4?q=river&sort=density&dir=down");
    expect(await page.locator("th[aria-sort=descending]").innerText()).toContain("Density");
    const grid = page.getByRole("grid", { name: "Latents" });
    await grid.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    const rows = Number(await grid.getAttribute("aria-rowcount"));
    const third = await page.locator("tr[aria-rowindex='4'] a").innerText();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: new RegExp(`^Latent ${third}`) }).waitFor();
    await page.goBack();
    await page.locator("[role=grid] tbody tr").first().waitFor();
    expect(Number(await grid.getAttribute("aria-rowcount"))).toBe(rows);
    expect(await page.getByRole("searchbox", { name: /Label/ }).inputValue()).toBe("river");
    await page.getByRole("button", { name: "Show all" }).click();
    expect(await grid.getAttribute("aria-rowcount")).toBe("401");
    await grid.focus();
    await page.keyboard.press("End");
    await page.locator("tr[aria-rowindex='401'].active").waitFor();
    expect(await page.locator("[role=grid] tbody tr").count()).toBeLessThan(80);
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("a list is filtered by promoted token, state, level and ranges", async () => {
    const { page, trouble } = await open("#/latents/layer-4", "[role=grid] tbody tr");
    const count = async () => Number(await page.getByRole("grid").getAttribute("aria-rowcount")) - 1;
    await page.getByLabel("Promotes the token").fill("bank");
    await page.keyboard.press("Enter");
    await page
      .getByText(/^\d+ of 400/)
      .first()
      .waitFor();
    const promoting = await count();
    await page.getByRole("combobox", { name: "Level", exact: true }).selectOption("2");
    expect(await count()).toBeLessThan(promoting);
    await page.getByLabel("State").selectOption("alive");
    await page.getByText("Ranges").first().click();
    await page.getByLabel("Drift (decoder cosine), least").fill("0.9");
    await page.keyboard.press("Enter");
    expect(hash(page)).toContain("promotes=bank&level=2&state=alive&drift=0.9..");
    const left = await count();
    expect(left).toBeGreaterThan(0);
    await page.reload();
    await page.locator("[role=grid] tbody tr").first().waitFor();
    await expect.poll(count).toBe(left);
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("dragging over the scatter filters the list; a click on a point opens it", async () => {
    const { page, trouble } = await open("#/latents/layer-4", "canvas");
    const box = (await page.locator("canvas").boundingBox())!;
    const drag = async (from: [number, number], to: [number, number]) => {
      await page.mouse.move(box.x + from[0] * box.width, box.y + from[1] * box.height);
      await page.mouse.down();
      await page.mouse.move(box.x + to[0] * box.width, box.y + to[1] * box.height, { steps: 4 });
      await page.mouse.up();
    };
    await drag([0.5, 0.05], [0.95, 0.6]);
    expect(hash(page)).toMatch(/density=[\d.e-]+\.\.[\d.e-]+&drift=[\d.]+\.\.[\d.]+/);
    const rows = Number(await page.getByRole("grid").getAttribute("aria-rowcount")) - 1;
    expect(rows).toBeGreaterThan(0);
    expect(rows).toBeLessThan(400);
    expect(await page.locator(".brush .chosen").count()).toBe(1);
    await page.mouse.click(box.x + 0.7 * box.width, box.y + 0.01 * box.height);
    await page.getByRole("heading", { level: 1, name: /^Latent \d+/ }).waitFor();
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("dragging over the density of the overview lists those latents", async () => {
    const { page } = await open("#/", ".plots .brush .over");
    const over = page.locator(".plots .brush .over").first();
    await over.scrollIntoViewIfNeeded();
    const box = (await over.boundingBox())!;
    await page.mouse.move(box.x + 0.6 * box.width, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.9 * box.width, box.y + 30, { steps: 3 });
    await page.mouse.up();
    await page.getByRole("heading", { level: 1, name: "Latents" }).waitFor();
    expect(hash(page)).toMatch(/^#\/latents\/layer-4\?density=/);
    await page.context().close();
  });

  it("training curves are read out by the arrow keys", async () => {
    const { page } = await open("#/", ".line-chart");
    const curve = page.getByRole("slider", { name: /^Loss/ }).first();
    await curve.focus();
    await page.keyboard.press("Home");
    expect(await curve.getAttribute("aria-valuetext")).toMatch(/^step 10:/);
    await page.keyboard.press("ArrowRight");
    expect(await curve.getAttribute("aria-valuenow")).toBe("20");
    await page.context().close();
  });

  it("tokens of an example are walked by the arrow keys, and say their activation", async () => {
    const { page } = await open("#/latent/layer-4/7", ".contexts .token");
    const strip = page.getByRole("listbox").first();
    const tokens = strip.getByRole("option");
    await tokens.nth(10).focus();
    expect(await page.locator("#tip").innerText()).toMatch(/“.*” {2}activation \d/);
    await page.keyboard.press("ArrowRight");
    expect(await tokens.nth(11).evaluate((token) => token.matches(":focus"))).toBe(true);
    expect(await strip.locator("[tabindex='0']").count()).toBe(1);
    await page.keyboard.press("Escape");
    expect(await page.locator("#tip").isVisible()).toBe(false);
    await page.context().close();
  });

  it("a latent is put beside its base, and beside any other", async () => {
    const { page, trouble } = await open("#/latent/layer-4/7", ".contexts .token");
    await page.getByRole("link", { name: "Beside the base SAE" }).click();
    await page.getByRole("heading", { name: "layer 4, before, latent 7" }).waitFor();
    await page.getByLabel("SAE of the other latent").selectOption({ index: 1 });
    await page.getByLabel("Number of the other latent").fill("12");
    await page.getByRole("button", { name: "Put beside" }).click();
    await page.getByRole("heading", { name: "layer 4, adapted <b>, latent 12" }).waitFor();
    expect(hash(page)).toContain("beside=layer-4/12");
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("typed text is encoded: a token's latents, a latent's tokens, errors; chat; a refusal in its words", async () => {
    const { page, trouble } = await open("#/try/layer-4", "textarea");
    await page.getByRole("textbox", { name: "Text" }).fill("the river bank");
    await page.keyboard.press("Control+Enter");
    await page.getByRole("option", { name: /river/ }).click();
    await page.getByRole("heading", { name: "Latents of “␣river”" }).waitFor();
    await page.getByRole("button", { name: "Shade the text by latent 7" }).first().click();
    expect(await page.getByRole("option", { name: /latent 7 \d/ }).count()).toBe(3);
    await page.getByRole("button", { name: "reconstruction error" }).click();
    expect(hash(page)).toBe("#/try/layer-4?text=the+river+bank&token=2&latent=7&shade=error");
    expect(await page.getByRole("option", { name: /bos.*not encoded/ }).count()).toBe(1);
    await page.getByRole("button", { name: "Chat" }).click();
    await page.getByRole("button", { name: "Add a message" }).click();
    await page.getByLabel("Message 2", { exact: true }).fill("yes");
    await page.getByRole("button", { name: "Encode" }).click();
    await page
      .locator(".encoded")
      .getByRole("option", { name: /assistant/ })
      .waitFor();
    await page.getByLabel("Message 2", { exact: true }).fill("refuse this");
    await page.getByRole("button", { name: "Encode" }).click();
    await page.getByRole("alert").getByText("type another").waitFor();
    // Chromium itself reports the refused request; the page says nothing more.
    expect(trouble.filter((line) => !/status of 422/.test(line))).toEqual([]);
    await page.context().close();
  });

  it("latents are steered: both texts grow side by side, and can be stopped", async () => {
    const { page, trouble } = await open("#/latent/layer-4/7", ".contexts .token");
    await page.getByRole("link", { name: "Steer with it" }).click();
    await page.getByRole("textbox", { name: "Text" }).fill("Once");
    expect(Number(await page.getByRole("spinbutton", { name: "Value" }).inputValue())).toBeGreaterThan(0);
    await page.getByRole("spinbutton", { name: "Tokens" }).fill("6");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText(/12 tokens in 0\.5 s/).waitFor();
    expect(await page.locator(".plain .text").innerText()).toBe(" word0 word1 word2 word3 word4 word5");
    expect(await page.locator(".generated.steered .text").innerText()).toContain(" word0 word1 add<b>7");
    expect(hash(page)).toMatch(/^#\/steer\/layer-4\?do=add:7:[\d.]+&text=Once&nTokens=6$/);
    await page.getByLabel("Activation a becomes").selectOption("ablate");
    await page.getByRole("spinbutton", { name: "Tokens" }).fill("250");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText("word3").first().waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped.").waitFor();
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("a comparison is narrowed and opens a pair side by side", async () => {
    const { page, trouble } = await open("#/compare", "[role=grid] tbody tr");
    await page.getByLabel("Cosine to the nearest, greatest").fill("0.5");
    await page.keyboard.press("Enter");
    await page.getByText(/^\d+ of 400 latents$/).waitFor();
    await page.locator("[role=grid] tbody tr a").first().click();
    await page.locator(".side-by-side section:nth-child(2) .contexts .token").first().waitFor();
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("exported, and on a host without ranges: all tables, and why nothing can be typed", async () => {
    const { page, trouble } = await open("#/latent/layer-4/7", ".contexts .token", exported);
    await page.getByRole("link", { name: "Try it" }).click();
    await page.getByText("A static export holds tables, not the model.").waitFor();
    await page.getByRole("link", { name: "Steer" }).click();
    await page.getByText("A static export holds tables, not the model.").waitFor();
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("markup in labels, tokens and names stays text; what cannot be seen is shown", async () => {
    const { page, trouble } = await open("#/latents/layer-4", "[role=grid] tbody tr");
    await page.getByRole("searchbox", { name: /Label/ }).fill("onerror");
    await page.getByRole("grid").getByText(HOSTILE[0]).first().waitFor();
    for (const [i, text] of HOSTILE.entries()) {
      await page.goto(`${server.url}#/latent/layer-4/${FIRST_HOSTILE + i}`);
      await page
        .getByRole("heading", { level: 1, name: new RegExp(`^Latent ${FIRST_HOSTILE + i}`) })
        .waitFor();
      await page.locator(".ranked tbody tr, .absent").first().waitFor();
      expect(await page.title(), text).toMatch(/^Latent/);
    }
    expect(await page.locator("main img, main script").count()).toBe(0);
    await page.goto(`${server.url}#/latent/layer-4/${FIRST_HOSTILE + 2}`);
    await page.locator(".token.at").first().waitFor();
    expect(await page.locator(".token.at").first().innerText()).toContain("⟨U+202E⟩right to left");
    expect(trouble).toEqual([]);
    await page.context().close();
  });

  it("goes where one says: skip link, colours that are remembered, wrong addresses", async () => {
    const { page, trouble } = await open("#/latents/layer-4", "[role=grid] tbody tr");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    await page.getByLabel("Colours").selectOption("dark");
    await page.reload();
    expect(await page.getAttribute("html", "data-theme")).toBe("dark");
    for (const [address, heading] of [
      ["#/nowhere", "There is no such page"],
      ["#/latents/absent", "No such index"],
      ["#/latent/layer-4/99999", "No such latent"],
    ]) {
      await page.goto(`${server.url}${address}`);
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
    }
    expect(trouble).toEqual([]);
    await page.context().close();
  });
});
