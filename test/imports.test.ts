/**
 * The import checker on small trees, good and bad, and then on src/ itself. The trees are written to a temporary folder:
 * what counts is what the checker says about files, not how it reads them.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { checkImports, checkPage, readImports } from "../scripts/check-imports.mjs";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** The problems of a tree given as file → text. */
function problems(tree: Record<string, string>): string[] {
  const folder = mkdtempSync(join(tmpdir(), "imports-"));
  folders.push(folder);
  for (const [file, text] of Object.entries(tree)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return checkImports(folder).problems;
}

describe("what counts as an import", () => {
  it("finds every form, with its line, and knows types", () => {
    const text = [
      'import { a } from "./a.ts";',
      'import type { B } from "./b.ts";',
      'import { type C, type D } from "./c.ts";',
      'import { e, type F } from "./e.ts";',
      'import "./g.ts";',
      "import {",
      "  h,",
      '} from "./h.ts";',
      'export * from "./i.ts";',
      'export type { J } from "./j.ts";',
      'const k = await import("./k.ts");',
      'type L = typeof import("./l.ts");',
      'spawnWorker(new URL("./m.ts", import.meta.url));',
    ].join("\n");
    expect(readImports(text)).toEqual([
      { specifier: "./a.ts", typeOnly: false, line: 1 },
      { specifier: "./b.ts", typeOnly: true, line: 2 },
      { specifier: "./c.ts", typeOnly: true, line: 3 },
      { specifier: "./e.ts", typeOnly: false, line: 4 },
      { specifier: "./g.ts", typeOnly: false, line: 5 },
      { specifier: "./h.ts", typeOnly: false, line: 6 },
      { specifier: "./i.ts", typeOnly: false, line: 9 },
      { specifier: "./j.ts", typeOnly: true, line: 10 },
      { specifier: "./k.ts", typeOnly: false, line: 11 },
      { specifier: "./l.ts", typeOnly: true, line: 12 },
      { specifier: "./m.ts", typeOnly: false, line: 13 },
    ]);
  });

  it("does not read comments, templates or strings as imports", () => {
    const text = [
      '/** import { a } from "./a.ts"; */',
      '// import "./b.ts"',
      "const python = `",
      'import { c } from "./c.ts"',
      "`;",
      `const quoted = 'import "./d.ts"';`,
      "const quote = /[\"'`]/; // an odd quote in a regular expression",
      'import { real } from "./real.ts";',
      "const label = key.replace(/`/g, '');",
      'import { last } from "./last.ts";',
    ].join("\n");
    expect(readImports(text).map((i) => i.specifier)).toEqual(["./real.ts", "./last.ts"]);
  });
});

describe("order", () => {
  it("downhill, within a room, and to the shared ground floor is fine", () => {
    const tree = {
      "cli/main.ts": 'import { run } from "../pipeline/run.ts";',
      "pipeline/run.ts": 'import { train } from "../train/trainer.ts";\nimport { z } from "zod";\nz; train;',
      "train/trainer.ts": 'import "./schedule.ts";\nimport type { Sae } from "../sae/sae.ts";',
      "train/schedule.ts": "export {};",
      "sae/sae.ts": 'import { ShapeError } from "../errors.ts";',
      "storage/atomic.ts": 'import { DataError } from "../errors.ts";\nimport "node:fs";',
      "errors.ts": "export {};",
      "sae/sae.test.ts": 'import "../train/trainer.ts";',
    };
    expect(problems(tree)).toEqual([]);
  });

  it("uphill is refused, types and workers too", () => {
    const tree = {
      "sae/a.ts": 'import type { T } from "../train/trainer.ts";',
      "kernels/b.ts": 'new URL("../models/worker.ts", import.meta.url);',
      "train/trainer.ts": "export {};",
      "models/worker.ts": "export {};",
    };
    expect(problems(tree)).toEqual([
      "kernels/b.ts:1 imports uphill: kernels → models (models/worker.ts)",
      "sae/a.ts:1 imports uphill: sae → train (train/trainer.ts)",
    ]);
  });

  it("neighbours are refused", () => {
    expect(
      problems({
        "corpus/a.ts": 'import "../models/b.ts";',
        "models/b.ts": "",
        "random/c.ts": 'import "../storage/d.ts";',
        "storage/d.ts": "",
      }),
    ).toEqual([
      "corpus/a.ts:1 imports its neighbour: corpus → models (models/b.ts)",
      "random/c.ts:1 imports its neighbour: random → storage (storage/d.ts)",
    ]);
  });

  it("a new folder must be given a place, and a path must exist", () => {
    expect(problems({ "utils/a.ts": 'import "../sae/b.ts";', "sae/b.ts": 'import "./missing.ts";' })).toEqual(
      [
        'sae/b.ts:1 imports "./missing.ts", which is not a source file of src/',
        'utils/a.ts:1 lies in "utils", which has no place in the order of imports',
      ],
    );
  });
});

describe("rings", () => {
  it("files that need each other are named as one ring", () => {
    const tree = {
      "sae/a.ts": 'import "./b.ts";',
      "sae/b.ts": 'import type { C } from "./c.ts";',
      "sae/c.ts": 'import "./a.ts";',
    };
    expect(problems(tree)).toEqual([
      "these files need each other: sae/a.ts → sae/b.ts → sae/c.ts → sae/a.ts",
    ]);
  });
});

describe("packages and words", () => {
  it("a package outside its place, an unknown package and a bare builtin are refused", () => {
    const tree = {
      "models/runtime.ts": 'import "onnxruntime-node";',
      "models/b.ts": 'import "left-pad";\nimport "fs";',
      "pipeline/c.ts": "const m = await import(name);",
      "sae/a.ts": 'import "commander";',
    };
    expect(problems(tree)).toEqual([
      'models/b.ts:1 imports the package "left-pad", which no place may import',
      'models/b.ts:2 imports "fs": write "node:fs"',
      "pipeline/c.ts:1 imports an expression, which cannot be checked: write the module's name",
      'sae/a.ts:1 imports "commander", which belongs to src/cli',
    ]);
  });

  it("library code does not print, exit, load binaries or draw unseeded numbers; the CLI prints", () => {
    const tree = {
      "cli/main.ts": "console.log(1); process.exitCode = 1;",
      "sae/a.ts": "// console.log\nconsole.log(1);\nMath.random();",
      "sae/b.ts": "createRequire(import.meta.url);\nprocess.exit(1);",
    };
    expect(problems(tree)).toEqual([
      "sae/a.ts:2 uses console, which belongs to cli",
      "sae/a.ts:3 uses Math.random, which nothing may",
      "sae/b.ts:1 uses createRequire, which belongs to kernels/addon.ts, worker-thread.ts",
      "sae/b.ts:2 uses process.exit, which belongs to cli",
    ]);
  });
});

describe("the browser's entry", () => {
  const index = 'export { a } from "./sae/a.ts";\nexport type { N } from "./storage/node-only.ts";';

  it("may use types of Node-only files", () => {
    expect(
      problems({
        "index.ts": index,
        "sae/a.ts": "export const a = 1;",
        "storage/node-only.ts": 'import "node:fs";',
      }),
    ).toEqual([]);
  });

  it("may not reach node: or a Node package, and the way there is told", () => {
    const tree = {
      "index.ts": index,
      "sae/a.ts": 'import "../storage/node-only.ts";',
      "storage/node-only.ts": 'import "node:fs";',
    };
    expect(problems(tree)).toEqual([
      'storage/node-only.ts:1 needs "node:fs", and a browser loads it: index.ts → sae/a.ts → storage/node-only.ts',
    ]);
  });
});

describe("the page", () => {
  const src = {
    "src/dashboard/site.ts": "export const a = 1;",
    "src/dashboard/serve.ts": "export type S = 1;",
    "src/report/numbers.ts": "export const n = 1;",
    "src/report/report.ts": "export const r = 1;",
  };
  const pageProblems = (tree: Record<string, string>) => {
    const folder = mkdtempSync(join(tmpdir(), "imports-"));
    folders.push(folder);
    for (const [file, text] of Object.entries({ ...src, ...tree })) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
    return checkPage(join(folder, "web/src"), join(folder, "src")).problems;
  };

  it("loads what is safe in a browser, and knows the dashboard by its types", () => {
    expect(
      pageProblems({
        "web/src/a.tsx": [
          'import { render } from "preact";',
          'import { a } from "../../src/dashboard/site.ts";',
          'import type { S } from "../../src/dashboard/serve.ts";',
          'import { n } from "../../src/report/numbers.ts";',
          'import { b } from "./b.ts";',
        ].join("\n"),
        "web/src/b.ts": "export const b = 1;",
      }),
    ).toEqual([]);
  });

  it("pulls in no server, no other package, no ring, and makes no markup of text", () => {
    const found = pageProblems({
      "web/src/a.tsx": [
        'import { S } from "../../src/dashboard/serve.ts";',
        'import type { r } from "../../src/report/report.ts";',
        'import fs from "node:fs";',
        'import { b } from "./b.ts";',
        "element.innerHTML = text;",
      ].join("\n"),
      "web/src/b.ts": 'import { a } from "./a.tsx";\nimport "./absent.ts";',
    });
    expect(found.map((problem) => problem.replace(/: the page knows.*/, ""))).toEqual([
      "web: a.tsx:5 uses markup from text, which nothing may",
      "web: a.tsx:1 imports src/dashboard/serve.ts",
      "web: a.tsx:2 imports types of src/report/report.ts",
      'web: a.tsx:3 imports the package "node:fs", which the page may not',
      'web: b.ts:2 imports "./absent.ts", which is not a source file',
      "these files need each other: a.tsx → b.ts → a.tsx",
    ]);
  });

  it("web/ is in order", () => {
    const root = fileURLToPath(new URL("..", import.meta.url));
    const { problems: found, files } = checkPage(join(root, "web/src"), join(root, "src"));
    expect(files).toBeGreaterThan(10);
    expect(found).toEqual([]);
  });
});

it("src/ is in order", () => {
  const src = fileURLToPath(new URL("../src", import.meta.url));
  const { problems: found, files } = checkImports(src);
  expect(files).toBeGreaterThan(10);
  expect(found).toEqual([]);
});
