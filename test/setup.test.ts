/** Parts of the set-up script: whether node_modules is what the lock file says, what to advise when npm fails, the page. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildPage, npmAdvice, packagesMatchLock, SetupError } from "../scripts/setup.mjs";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "setup-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const entries = {
  "node_modules/a": { version: "1.0.0" },
  "node_modules/b": { version: "2.0.0", optional: true },
};

function write(file: string, packages: Record<string, unknown>) {
  mkdirSync(join(root, "node_modules/a"), { recursive: true });
  writeFileSync(join(root, "node_modules/a/package.json"), "{}");
  writeFileSync(join(root, file), JSON.stringify({ packages }));
}
const wanted = (packages: Record<string, unknown>) =>
  write("package-lock.json", { "": { dependencies: { a: "1.0.0" } }, ...packages });
const installed = (packages: Record<string, unknown>) => write("node_modules/.package-lock.json", packages);

describe("packagesMatchLock", () => {
  it("accepts what npm ci left, also without another platform's packages", () => {
    wanted(entries);
    installed(entries);
    expect(packagesMatchLock(root)).toBe(true);
    installed({ "node_modules/a": entries["node_modules/a"] });
    expect(packagesMatchLock(root)).toBe(true);
  });

  it("refuses an empty clone, a missing package, and another version, also of an optional one", () => {
    wanted(entries);
    expect(packagesMatchLock(root)).toBe(false);
    installed({ "node_modules/b": { version: "2.0.0" } });
    expect(packagesMatchLock(root)).toBe(false);
    installed({ ...entries, "node_modules/a": { version: "1.0.1" } });
    expect(packagesMatchLock(root)).toBe(false);
    installed({ ...entries, "node_modules/b": { version: "2.0.1" } });
    expect(packagesMatchLock(root)).toBe(false);
  });

  it("notices a folder that was deleted by hand", () => {
    wanted(entries);
    installed(entries);
    rmSync(join(root, "node_modules/a"), { recursive: true });
    expect(packagesMatchLock(root)).toBe(false);
  });
});

describe("buildPage", () => {
  const packages = fileURLToPath(new URL("../node_modules", import.meta.url));
  const page = (main: string) => {
    symlinkSync(packages, join(root, "node_modules"));
    mkdirSync(join(root, "web/src"), { recursive: true });
    for (const folder of ["src/dashboard", "src/report"]) mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, "web/index.html"), '<script type="module" src="./src/main.ts"></script>');
    writeFileSync(join(root, "web/src/main.ts"), main);
  };
  const context = (state: Record<string, unknown>) => ({ root, verbose: false, log: () => {}, state });
  const built = () => readFileSync(join(root, "web/dist/index.html"), "utf8");

  it("builds, then does nothing until a source changes or the page is deleted", async () => {
    page("document.title = 'one';");
    const state: Record<string, unknown> = {};
    expect(await buildPage(context(state))).toBe(true);
    const first = built();
    expect(await buildPage(context(state))).toBe(false);
    writeFileSync(join(root, "web/src/main.ts"), "document.title = 'two';");
    expect(await buildPage(context(state))).toBe(true);
    expect(built()).not.toBe(first);
    rmSync(join(root, "web/dist"), { recursive: true });
    expect(await buildPage(context(state))).toBe(true);
  });

  it("a page that does not build is an error, and leaves the last good one", async () => {
    page("document.title = 'one';");
    await buildPage(context({}));
    const good = built();
    writeFileSync(join(root, "web/src/main.ts"), "import './absent.ts';");
    await expect(buildPage(context({}))).rejects.toThrow(SetupError);
    expect(built()).toBe(good);
  });

  it("keeps what else is recorded of the folder, and builds for use", async () => {
    page("if (import.meta.env.DEV) document.title = 'for debugging';");
    mkdirSync(join(root, ".cache"));
    writeFileSync(join(root, ".cache/setup.json"), JSON.stringify({ addon: "a" }));
    expect(await buildPage({ root, verbose: false, log: () => {} })).toBe(true);
    const state = JSON.parse(readFileSync(join(root, ".cache/setup.json"), "utf8"));
    expect(state).toMatchObject({ addon: "a", page: expect.any(String) });
    const scripts = readdirSync(join(root, "web/dist"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".js"))
      .map((name) => readFileSync(join(root, "web/dist", name), "utf8"));
    expect(scripts.join()).not.toContain("for debugging");
  });

  it("an installed package has no sources, and nothing is built", async () => {
    expect(await buildPage(context({}))).toBe(false);
    expect(existsSync(join(root, "web"))).toBe(false);
  });
});

it.each([
  ["npm error code EAI_AGAIN\nnpm error errno EAI_AGAIN", /could not be reached/],
  ["npm error code EUSAGE\nnpm error Missing: x from lock file", /disagree/],
  ["npm error code EINTEGRITY", /differs from the lock/],
  ["npm error code ENOSPC", /disk is full/],
  ["npm error code E404", /lacks a package/],
  ["npm error something new", /--verbose/],
])("npm's %j leads to advice", (output, advice) => {
  expect(npmAdvice(output)).toMatch(advice);
});
