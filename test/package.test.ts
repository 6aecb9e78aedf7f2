/**
 * The package as a stranger gets it: what npm would publish, exact versions, a lock file that installs on every platform and
 * names no registry, permissive licences, scripts without a shell, and no trace of the machine it was made on.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readImports } from "../scripts/check-imports.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const readJson = (file: string) => JSON.parse(readFileSync(join(root, file), "utf8"));

interface LockEntry {
  version?: string;
  license?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

const manifest = readJson("package.json") as {
  exports: Record<string, Record<string, string>>;
  bin: Record<string, string>;
  scripts: Record<string, string>;
  license: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};
const lock = readJson("package-lock.json").packages as Record<string, LockEntry>;

/** dist/x.js and dist/x.d.ts are made from src/x.ts. */
const sourceOf = (built: string) =>
  built
    .replace(/^(\.\/)?dist\//, "src/")
    .replace(/\.d\.ts$/, ".ts")
    .replace(/\.js$/, ".ts");

describe("entry points", () => {
  const targets = [...Object.values(manifest.exports).flatMap(Object.values), ...Object.values(manifest.bin)];

  it.each([...new Set(targets)])("%s is made from a file that exists", (target) => {
    expect(target).toMatch(/^(\.\/)?dist\/.+\.(js|d\.ts)$/);
    expect(existsSync(join(root, sourceOf(target)))).toBe(true);
  });

  it("the command starts with a line that finds Node", () => {
    for (const target of Object.values(manifest.bin))
      expect(readFileSync(join(root, sourceOf(target)), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});

describe("what npm would publish", () => {
  const files = packedFiles();

  it("holds the engine's sources, the recipes, the assets of the quickstart, and the terms", () => {
    for (const file of [
      "LICENSE",
      "NOTICE",
      "README.md",
      "package.json",
      "scripts/setup.mjs",
      "native/binding.gyp",
      "native/wasm/lapidary.wasm",
      "recipes/tiny-gemma.yaml",
      "assets/README.md",
      "assets/licenses/WordNet.txt",
      "assets/tiny-gemma/base/model.onnx",
      "assets/tiny-gemma/it/model.onnx",
      "assets/tiny-gemma/it/tokenizer.json",
      "assets/tiny-gemma/it-int8/model_quantized.onnx",
      "assets/tiny-gemma/sae-base/layer_4/sae_weights.safetensors",
      "assets/tiny-gemma/data/prose_train.jsonl",
    ])
      expect(files).toContain(file);
    expect(files.some((file) => /^native\/src\/.+\.cc$/.test(file))).toBe(true);
  });

  it("holds no tests, no build products but dist/, and no TypeScript sources", () => {
    expect(
      files.filter((file) => /\.test\.|^test\/|^src\/|^native\/build\/|\.whl$|^\.ci\//.test(file)),
    ).toEqual([]);
  });

  it.skipIf(!existsSync(join(root, "web/dist")))(
    "holds the page (web/dist/ is built), and not its sources",
    () => {
      expect(files).toContain("web/dist/index.html");
      expect(files.filter((file) => /^web\/(?!dist\/)/.test(file))).toEqual([]);
    },
  );

  it.skipIf(!existsSync(join(root, "dist")))("holds what the entry points name (dist/ is built)", () => {
    for (const target of Object.values(manifest.exports).flatMap(Object.values))
      expect(files).toContain(target.replace("./", ""));
  });
});

describe("dependencies", () => {
  it("are pinned to one version each", () => {
    const all = { ...manifest.dependencies, ...manifest.devDependencies };
    // DuckDB numbers its packages by the engine's version and a revision of its own: 1.5.6-r.1.
    const pinned = /^\d+\.\d+\.\d+(-r\.\d+)?$/;
    expect(Object.entries(all).filter(([, version]) => !pinned.test(version))).toEqual([]);
  });

  it("stand in the lock file as in package.json", () => {
    expect(lock[""]!.dependencies).toEqual(manifest.dependencies);
    expect(lock[""]!.devDependencies).toEqual(manifest.devDependencies);
    const all = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
    for (const [name, version] of all) expect(lock[`node_modules/${name}`]?.version).toBe(version);
  });

  it("are all used by the sources, or by the addon that an installed package can build", () => {
    const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
      .flatMap((name) => readImports(readFileSync(join(root, "src", name), "utf8")))
      .map(({ specifier }) => specifier ?? "");
    const addon = readFileSync(join(root, "native/binding.gyp"), "utf8");
    const used = (name: string) =>
      sources.some((s) => s === name || s.startsWith(`${name}/`)) || addon.includes(`require('${name}')`);
    expect(Object.keys(manifest.dependencies).filter((name) => !used(name))).toEqual([]);
  });

  it("the lock file names every platform's package, without which `npm ci` refuses to start", () => {
    const absent = Object.entries(lock).flatMap(([path, entry]) =>
      Object.keys(entry.optionalDependencies ?? {})
        .filter((name) => lockPathOf(path, name) === undefined)
        .map((name) => `${name}, wanted by ${path}`),
    );
    expect(absent).toEqual([]);
  });

  it("the lock file names no registry", () => {
    const resolved = Object.values(lock).filter((entry) => entry.resolved !== undefined);
    expect(resolved).toEqual([{ resolved: "web", link: true }]); // the page's workspace, a folder of this repository
    expect(readFileSync(join(root, "package-lock.json"), "utf8")).not.toMatch(
      /registry|https?:\/\/[^"]*\.tgz/,
    );
  });

  it("have permissive licences; what is only used in development may be MPL-2.0", () => {
    const permissive = [
      "MIT",
      "Apache-2.0",
      "ISC",
      "BSD-2-Clause",
      "BSD-3-Clause",
      "0BSD",
      "BlueOak-1.0.0",
      "CC0-1.0",
    ];
    const refused = Object.entries(lock).filter(([path, { license, dev, link }]) => {
      if (path === "" || link) return false;
      const allowed = dev ? [...permissive, "MPL-2.0", "Python-2.0"] : permissive;
      const choices = (license ?? "none").replace(/[()]/g, "").split(" OR ");
      return !choices.some((choice) => choice.split(" AND ").every((part) => allowed.includes(part)));
    });
    expect(refused.map(([path, { license }]) => `${path}: ${license}`)).toEqual([]);
  });
});

describe("scripts", () => {
  it("use no shell: one program with its arguments, the same on Windows", () => {
    const shellish = Object.entries(manifest.scripts).filter(([, line]) =>
      /[|&;<>$`'*~]|^(rm|cp|mv|cat|mkdir|bash|sh|[A-Z_]+=)\b/.test(line),
    );
    expect(shellish).toEqual([]);
  });
});

describe("tracked files", () => {
  const tracked = gitFiles();
  const texts = tracked.filter(
    (file) =>
      /\.(ts|mts|mjs|js|json|md|yaml|yml|txt|cc|h|gyp|jinja|html|css)$|^\.|^(LICENSE|NOTICE)$/.test(file) &&
      !file.startsWith("assets/tiny-gemma/data/") &&
      !file.startsWith("assets/licenses/") &&
      !file.endsWith("tokenizer.json"),
  );

  it.skipIf(tracked.length === 0)("hold no path of a machine and no registry host", () => {
    // Spelt in pieces, so that this file does not find itself.
    const folders = ["work", "root", "workspace", "home/\\w+", "Users/\\w+", "tmp"].join("|");
    const machine = new RegExp(
      `(?<![\\w.}*-])/(${folders})/|[A-Z]:\\\\\\\\?Users|${["registry", "npmjs"].join("\\.")}`,
    );
    const found = texts.flatMap((file) =>
      readFileSync(join(root, file), "utf8")
        .split("\n")
        .flatMap((line, i) => (machine.test(line) ? [`${file}:${i + 1} ${line.trim().slice(0, 120)}`] : [])),
    );
    expect(found).toEqual([]);
  });

  it.skipIf(tracked.length === 0)("hold no build product and no downloaded package", () => {
    const unwanted = /\.(whl|tgz|node|o|a|so|dll|dylib)$|(^|\/)(node_modules|dist|build|runs)\//;
    expect(tracked.filter((file) => unwanted.test(file))).toEqual([]);
  });

  it("a link in a document leads to a file that is there", () => {
    const dead = texts
      .filter((file) => file.endsWith(".md") && !file.startsWith("test/fixtures/"))
      .flatMap((file) =>
        [...readFileSync(join(root, file), "utf8").matchAll(/\]\(([^)\s]+)\)/g)]
          .map(([, link]) => link!.split("#")[0]!)
          .filter((link) => link !== "" && !/^[a-z]+:/.test(link))
          .filter((link) => !existsSync(join(root, dirname(file), link)))
          .map((link) => `${file} → ${link}`),
      );
    expect(dead).toEqual([]);
  });

  it("LICENSE is Apache-2.0, as package.json says", () => {
    expect(manifest.license).toBe("Apache-2.0");
    const text = readFileSync(join(root, "LICENSE"), "utf8");
    expect(text).toContain("Version 2.0, January 2004");
    expect(text).toContain("END OF TERMS AND CONDITIONS");
  });
});

/** Where npm would look for `name` from the package at `path`: its own node_modules, then each parent's. */
function lockPathOf(path: string, name: string): string | undefined {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("node_modules/") - 1))) {
    const candidate = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (lock[candidate]) return candidate;
    if (at === "") return undefined;
  }
}

function packedFiles(): string[] {
  const npm = process.env.npm_execpath?.endsWith("npm-cli.js") ? process.env.npm_execpath : besideNode();
  const args = [npm, "pack", "--dry-run", "--json", "--ignore-scripts", "--loglevel=error"];
  const json = execFileSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return JSON.parse(json)[0].files.map((file: { path: string }) => file.path);
}

/** npm's JavaScript entry where Node's installers put it. */
function besideNode(): string {
  const folder = join(process.execPath, "..");
  const places = [
    join(folder, "node_modules"),
    join(folder, "../lib/node_modules"),
    join(folder, "../share/nodejs"),
  ];
  const found = places.map((place) => join(place, "npm/bin/npm-cli.js")).find((file) => existsSync(file));
  if (found === undefined) throw new Error("npm is not beside this Node; run this test through `npm test`");
  return found;
}

/** Files git tracks and that are there; none outside a git checkout. */
function gitFiles(): string[] {
  try {
    return execFileSync("git", ["ls-files", "-z"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    })
      .split("\0")
      .filter((file) => file !== "" && existsSync(join(root, file)) && statSync(join(root, file)).isFile());
  } catch {
    return [];
  }
}
