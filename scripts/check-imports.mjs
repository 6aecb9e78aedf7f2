/**
 * Checks the import graph of src/ against the table below: imports run downhill only, no two files need each other, some
 * packages belong to one place, and nothing that needs Node is reachable from the browser-safe entry. It reads source text
 * and resolves relative paths; it does not know TypeScript beyond import and export statements.
 *
 *   node scripts/check-imports.mjs [folder, default src]
 *
 * The page, web/src/, is checked too: of src/ it loads a few files that are safe in a browser, and else knows only types of
 * the dashboard, so that it cannot pull in the server.
 *
 * Types count for the order and for cycles. They do not count for what the browser loads, since they are erased.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Top to bottom. A room may import rooms of lower rows; rooms in one row do not know each other. */
export const LEVELS = [
  ["index", "node"],
  ["cli"],
  ["bench"],
  ["pipeline"],
  ["publish", "explain", "report"],
  ["dashboard"],
  ["train"],
  ["evals", "harvest"],
  ["activations", "corpus", "models"],
  ["sae"],
  ["kernels"],
  ["formats", "hub"],
  ["storage", "random", "tensor", "errors", "worker-thread"],
];

/** Of the lowest row, what the others there may use: errors are thrown, and dtypes named, everywhere. */
const SHARED = ["errors", "tensor"];

const EVERYWHERE = [""];

/** Who may import a package: folders or files under src/. A package not named here is refused. */
export const PACKAGES = {
  "@duckdb/node-api": ["dashboard/database.ts"],
  "@huggingface/hub": ["hub"],
  "@huggingface/jinja": ["corpus"],
  "@huggingface/tokenizers": ["corpus"],
  commander: ["cli"],
  fzstd: ["corpus"],
  hyparquet: ["corpus"],
  "hyparquet-compressors": ["corpus"],
  "onnxruntime-node": ["models/runtime.ts", "models/session-worker.ts"],
  yaml: ["hub", "pipeline"],
  zod: EVERYWHERE,
};

/** Other ways out of a module, and who may take them: loading binaries, printing, leaving, drawing unseeded numbers. */
export const WORDS = [
  {
    word: /\bcreateRequire\b|\bprocess\.dlopen\b/,
    what: "createRequire",
    places: ["kernels/addon.ts", "worker-thread.ts"],
  },
  { word: /\bconsole\./, what: "console", places: ["cli"] },
  { word: /\bprocess\.(exit|exitCode)\b/, what: "process.exit", places: ["cli"] },
  { word: /\bMath\.random\b/, what: "Math.random", places: [] },
];

const NODE_PACKAGES = ["@duckdb/node-api", "onnxruntime-node", "@huggingface/hub", "commander"];

/** What of src/ the page may load; besides, it imports types of the dashboard. */
export const PAGE_MAY_LOAD = [
  "dashboard/explanations.ts",
  "dashboard/row-problems.ts",
  "dashboard/site.ts",
  "dashboard/tables.ts",
  "report/charts/scale.ts",
  "report/numbers.ts",
  "report/visible-text.ts",
];
/** Packages of the page. */
export const PAGE_PACKAGES = ["fzstd", "hyparquet", "preact"];

/** What the page does not do: make markup of text, speak to the console, draw unseeded numbers. */
const PAGE_WORDS = [
  {
    word: /\b(inner|outer)HTML\b|dangerouslySetInnerHTML|insertAdjacentHTML|\bsrcdoc\b/,
    what: "markup from text",
  },
  { word: /\bconsole\./, what: "console" },
  { word: /\bMath\.random\b/, what: "Math.random" },
];

/** Entries that a browser loads: no `node:` module and none of these packages may be reachable from them. */
const BROWSER_ENTRIES = ["index.ts", ...PAGE_MAY_LOAD];

const BUILTINS = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));

/**
 * All imports of a source text, in order: static, re-exports, dynamic with a literal, and worker modules
 * (`new URL("./x.ts", import.meta.url)`). `specifier` is undefined for a dynamic import of an expression.
 * @returns {{ specifier: string | undefined, typeOnly: boolean, line: number }[]}
 */
export function readImports(text) {
  const code = blankOut(text);
  const found = [];
  const add = (index, specifier, typeOnly) =>
    found.push({ specifier, typeOnly, line: code.slice(0, index).split("\n").length, index });

  const statement = /^[ \t]*(import|export)\b([^;"'=()]*?)\bfrom\s*(["'])([^"'\n]+)\3/gm;
  for (const match of code.matchAll(statement)) add(match.index, match[4], isTypeOnly(match[2]));
  for (const match of code.matchAll(/^[ \t]*import\s*(["'])([^"'\n]+)\1/gm))
    add(match.index, match[2], false);
  for (const match of code.matchAll(/(typeof\s+)?\bimport\s*\(\s*(?:(["'])([^"'\n]+)\2)?/g))
    add(match.index, match[3], match[1] !== undefined);
  const worker = /new\s+URL\s*\(\s*(["'])(\.[^"'\n]+\.ts)\1\s*,\s*import\.meta\.url/g;
  for (const match of code.matchAll(worker)) add(match.index, match[2], false);
  return found.sort((a, b) => a.index - b.index).map(({ index: _, ...rest }) => rest);
}

/** `import type {…}`, or braces in which every name is a type. */
function isTypeOnly(clause) {
  if (/^\s*type\b(?!\s*,)/.test(clause)) return true;
  const braces = clause.match(/^\s*\{([^}]*)\}\s*$/);
  const names = braces?.[1].split(",").map((name) => name.trim()) ?? [];
  return names.some((name) => name !== "") && names.every((name) => name === "" || name.startsWith("type "));
}

/** Comments and template literals become spaces (line breaks stay), so that text about imports is not read as imports. */
function blankOut(text) {
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\[\s\S])*`|(?<=[=(,:;!&|?{}[\n]\s*|return\s+)\/(?![/*])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//g;
  return text.replace(token, (match) =>
    match[0] === '"' || match[0] === "'" ? match : match.replace(/[^\n]/g, " "),
  );
}

/**
 * Checks every non-test file under `folder`.
 * @returns {{ problems: string[], files: number, imports: number }}
 */
export function checkImports(folder) {
  const files = sourceFiles(folder);
  const texts = new Map(files.map((file) => [file, readFileSync(join(folder, file), "utf8")]));
  const graph = new Map(files.map((file) => [file, readImports(texts.get(file))]));
  const problems = files.flatMap((file) => checkWords(file, texts.get(file)));
  const edges = new Map(files.map((file) => [file, []]));
  let imports = 0;
  for (const [file, list] of graph)
    for (const { specifier, typeOnly, line } of list) {
      imports++;
      const at = `${file}:${line}`;
      if (specifier === undefined)
        problems.push(`${at} imports an expression, which cannot be checked: write the module's name`);
      else if (!specifier.startsWith(".")) problems.push(...checkPackage(file, at, specifier));
      else {
        const target = posix.normalize(posix.join(posix.dirname(file), specifier));
        if (!graph.has(target))
          problems.push(`${at} imports "${specifier}", which is not a source file of src/`);
        else {
          edges.get(file).push({ target, typeOnly });
          problems.push(...checkOrder(file, at, target));
        }
      }
    }
  problems.push(...findCycles(edges), ...checkBrowser(graph, edges));
  return { problems, files: files.length, imports };
}

/**
 * Checks the page's files, given the folder of web/src and that of src.
 * @returns {{ problems: string[], files: number, imports: number }}
 */
export function checkPage(folder, src) {
  const files = sourceFiles(folder);
  const texts = new Map(files.map((file) => [file, readFileSync(join(folder, file), "utf8")]));
  const problems = [];
  const edges = new Map(files.map((file) => [file, []]));
  let imports = 0;
  for (const [file, text] of texts) {
    const lines = blankOut(text).split("\n");
    for (const { word, what } of PAGE_WORDS)
      lines.forEach((line, i) => {
        if (word.test(line)) problems.push(`web: ${file}:${i + 1} uses ${what}, which nothing may`);
      });
    for (const { specifier, typeOnly, line } of readImports(text)) {
      imports++;
      const at = `web: ${file}:${line}`;
      if (specifier === undefined) problems.push(`${at} imports an expression, which cannot be checked`);
      else if (!specifier.startsWith(".")) {
        if (!PAGE_PACKAGES.includes(specifier.split("/")[0]))
          problems.push(`${at} imports the package "${specifier}", which the page may not`);
      } else {
        const path = join(folder, dirname(file), specifier);
        const inPage = relative(folder, path).split(sep).join("/");
        const inSrc = relative(src, path).split(sep).join("/");
        if (texts.has(inPage)) edges.get(file).push({ target: inPage, typeOnly });
        else if (inSrc.startsWith("..") || !existsSync(path))
          problems.push(`${at} imports "${specifier}", which is not a source file`);
        else if (!PAGE_MAY_LOAD.includes(inSrc) && !(typeOnly && inSrc.startsWith("dashboard/")))
          problems.push(
            `${at} imports ${typeOnly ? "types of " : ""}src/${inSrc}: the page knows types of src/dashboard, and loads ${PAGE_MAY_LOAD.join(", ")}`,
          );
      }
    }
  }
  problems.push(...findCycles(edges));
  return { problems, files: files.length, imports };
}

const isIn = (file, places) =>
  places.some((place) => place === "" || file === place || file.startsWith(`${place}/`));
const room = (file) => file.split("/")[0].replace(/\.ts$/, "");
const level = (file) => LEVELS.findIndex((rooms) => rooms.includes(room(file)));

function checkOrder(file, at, target) {
  const [from, to] = [room(file), room(target)];
  if (level(file) < 0) return [`${at} lies in "${from}", which has no place in the order of imports`];
  if (level(target) < 0) return [`${at} imports "${to}", which has no place in the order of imports`];
  if (from === to) return [];
  if (level(file) < level(target)) return [];
  if (level(file) > level(target)) return [`${at} imports uphill: ${from} → ${to} (${target})`];
  const shared = level(file) === LEVELS.length - 1 && SHARED.includes(to) && from !== "errors";
  return shared || from === "node" ? [] : [`${at} imports its neighbour: ${from} → ${to} (${target})`];
}

function checkPackage(file, at, specifier) {
  if (BUILTINS.has(specifier))
    return specifier.startsWith("node:") ? [] : [`${at} imports "${specifier}": write "node:${specifier}"`];
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  const places = PACKAGES[name];
  if (places === undefined) return [`${at} imports the package "${name}", which no place may import`];
  return isIn(file, places)
    ? []
    : [`${at} imports "${name}", which belongs to ${places.map((p) => `src/${p}`).join(", ")}`];
}

function checkWords(file, text) {
  const lines = blankOut(text).split("\n");
  return WORDS.filter(({ places }) => !isIn(file, places)).flatMap(({ word, what, places }) =>
    lines.flatMap((line, i) =>
      word.test(line)
        ? [
            `${file}:${i + 1} uses ${what}, which ${places.length === 0 ? "nothing may" : `belongs to ${places.join(", ")}`}`,
          ]
        : [],
    ),
  );
}

/** One line for each ring of files that need each other, named from its first file. */
function findCycles(edges) {
  const done = new Set();
  const path = [];
  const rings = new Map();
  const visit = (file) => {
    if (path.includes(file)) {
      const ring = path.slice(path.indexOf(file));
      rings.set([...ring].sort().join(), `these files need each other: ${[...ring, file].join(" → ")}`);
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const { target } of edges.get(file)) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of edges.keys()) visit(file);
  return [...rings.values()];
}

/** Follows what is left after types are erased, from each browser entry. */
function checkBrowser(graph, edges) {
  const problems = [];
  for (const entry of BROWSER_ENTRIES.filter((file) => graph.has(file))) {
    const cameFrom = new Map([[entry, undefined]]);
    for (const file of cameFrom.keys())
      for (const { target, typeOnly } of edges.get(file))
        if (!typeOnly && !cameFrom.has(target)) cameFrom.set(target, file);
    for (const file of cameFrom.keys())
      for (const { specifier, typeOnly, line } of graph.get(file)) {
        if (typeOnly || specifier === undefined) continue;
        if (!BUILTINS.has(specifier) && !NODE_PACKAGES.includes(specifier)) continue;
        const way = [];
        for (let at = file; at !== undefined; at = cameFrom.get(at)) way.unshift(at);
        problems.push(`${file}:${line} needs "${specifier}", and a browser loads it: ${way.join(" → ")}`);
      }
  }
  return problems;
}

function sourceFiles(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && !/\.test\.tsx?$/.test(entry.name))
    .map((entry) =>
      relative(folder, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join("/"),
    )
    .sort();
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
  const folder = resolve(process.argv[2] ?? join(root, "src"));
  if (!existsSync(folder)) throw new Error(`no folder ${folder}`);
  const page = join(root, "web/src");
  const checks = [checkImports(folder), ...(existsSync(page) ? [checkPage(page, join(root, "src"))] : [])];
  const problems = checks.flatMap((check) => check.problems);
  const files = checks.reduce((sum, check) => sum + check.files, 0);
  const imports = checks.reduce((sum, check) => sum + check.imports, 0);
  for (const problem of problems) console.error(problem);
  const verdict = problems.length === 0 ? "in order" : `${problems.length} problems`;
  console.log(`${imports} imports of ${files} files: ${verdict}`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
