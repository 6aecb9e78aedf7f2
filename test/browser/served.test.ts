/**
 * The page on a real run, served by the real server, in a real browser: what was measured, real latents, and the model at
 * work. Long, so it runs where LAPIDARY_RUN names the folder of a finished run of the embedded model, e.g. of
 * `lapidary run recipes/tiny-gemma.yaml --set name=small --set corpus.tokens=60000 --layers 4`; else it is skipped, and says so.
 * Screenshots are left in test-results/served.
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startServer } from "../../src/dashboard/server/server.ts";
import { type OpenedSite, openSite } from "../../src/pipeline/serving/site.ts";

const RUN = process.env.LAPIDARY_RUN;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = fileURLToPath(new URL("../../test-results/served", import.meta.url));
const QUIET =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
const WAIT = 60_000;

const isAsked = RUN !== undefined && existsSync(CHROMIUM);
if (!isAsked)
  process.stderr.write(
    "## the page on a real run is NOT TESTED here: LAPIDARY_RUN=<run folder> and Chromium\n",
  );

describe.skipIf(!isAsked)("a run, served, in Chromium", { timeout: 300_000 }, () => {
  let opened: OpenedSite;
  let server: RunningServer;
  let browser: Browser;
  let page: Page;
  const trouble: string[] = [];

  beforeAll(async () => {
    await mkdir(SCREENSHOTS, { recursive: true });
    opened = await openSite([resolve(RUN ?? "")], {});
    server = await startServer({
      files: opened.files,
      live: opened.model,
      notLive: opened.site.notLive,
      port: 0,
    });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET.split(" ") });
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    context.setDefaultTimeout(WAIT);
    page = await context.newPage();
    page.on("console", (message) => trouble.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => trouble.push(`error: ${error.message}`));
  }, 600_000);

  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  const shot = (name: string) => page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  const index = () => opened.site.indexes.find(({ phase }) => phase === "after")!.id;

  it("says what was measured", async () => {
    await page.goto(server.url);
    await page.locator(".results tbody tr").first().waitFor();
    await page.locator("canvas").waitFor();
    await shot("overview");
    expect(await page.locator(".line-chart").count()).toBeGreaterThan(0);
    expect(trouble).toEqual([]);
  });

  it("lists the latents; the densest fires on what its examples show", async () => {
    await page.goto(`${server.url}#/latents/${index()}?sort=density&dir=down`);
    await page.locator("[role=grid] tbody tr").first().waitFor();
    await shot("latents");
    await page.locator("[role=grid] tbody a").first().click();
    await page.locator(".contexts .token.at").first().waitFor();
    await page.getByRole("heading", { name: "Neighbours" }).waitFor();
    await shot("latent");
    await page.getByRole("link", { name: "Beside the base SAE" }).click();
    await page.locator(".side-by-side section:nth-child(2) .facts").waitFor();
    await shot("beside");
    expect(trouble).toEqual([]);
  });

  it("compares before and after", async () => {
    await page.goto(`${server.url}#/compare`);
    await page.locator("[role=grid] tbody tr").first().waitFor();
    await shot("compare");
    expect(trouble).toEqual([]);
  });

  it("encodes what is typed, and a chat", async () => {
    await page.goto(`${server.url}#/try/${index()}`);
    await page.getByRole("textbox", { name: "Text" }).fill("The old stone bridge crosses the river.");
    await page.keyboard.press("Control+Enter");
    await page.locator(".encoded").getByRole("option").nth(3).click();
    await page.getByRole("heading", { name: /^Latents of/ }).waitFor();
    expect(await page.locator(".fired tbody tr").count()).toBeGreaterThan(2);
    await shot("try");
    await page.getByRole("button", { name: "Chat" }).click();
    await page.getByRole("button", { name: "Encode" }).click();
    await page
      .locator(".encoded")
      .getByRole("option", { name: /, user$/ })
      .first()
      .waitFor();
    await shot("try-chat");
    expect(trouble).toEqual([]);
  });

  it("steers: the strongest latent of the text, ablated and added, changes what is generated", async () => {
    await page.goto(`${server.url}#/try/${index()}?text=${encodeURIComponent("The old stone bridge")}`);
    await page
      .locator(".fired")
      .getByRole("link", { name: /^Steer with latent/ })
      .first()
      .click();
    await page.getByRole("textbox", { name: "Text" }).fill("The old stone bridge");
    await page.getByRole("spinbutton", { name: "Tokens" }).fill("8");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText(/tokens in [\d.]+ s/).waitFor();
    await shot("steer");
    const text = (side: string) => page.locator(`.generated.${side} .text`).innerText();
    expect((await text("plain")).length).toBeGreaterThan(0);
    expect(await text("steered")).not.toBe(await text("plain"));
    await page.getByRole("spinbutton", { name: "Tokens" }).fill("100");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped.").waitFor();
    await page.getByRole("spinbutton", { name: "Tokens" }).fill("2");
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByText(/^\d tokens in/).waitFor();
    expect(trouble).toEqual([]);
  });
});
