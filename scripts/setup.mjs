/**
 * Makes a clone ready to run: npm packages, TypeScript → dist/, the page → web/dist/, C++ → native addon. Each of the four is skipped when what it
 * is made from has not changed, so running this again costs a fraction of a second. Needs Node alone: no shell, no packages.
 *
 *   node scripts/setup.mjs [--verbose]
 *
 * The addon is wanted, not needed. Without a compiler (and, as root on Debian, after trying apt-get; set LAPIDARY_NO_APT=1 to
 * forbid that) a prebuilt binary is used if the package has one; else the WebAssembly engine runs, slower, or where there is
 * no WebAssembly the reference engine, much slower. `setup()` says which in what it returns, so that the quickstart can ask
 * for less.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const OLDEST_NODE = [20, 19];

/** A step that could not be done, with what to try. */
export class SetupError extends Error {
  constructor(message, hint) {
    super(message);
    this.name = "SetupError";
    this.hint = hint;
  }
}

/**
 * Brings the folder up to date.
 * @param {{ root?: string, verbose?: boolean, log?: (line: string) => void }} [options]
 * @returns {Promise<{ engine: "native" | "wasm" | "reference", reason: string, changed: boolean }>}
 */
export async function setup(options = {}) {
  const root = options.root ?? resolve(dirname(fileURLToPath(import.meta.url)), "..");
  const log = options.log ?? ((line) => console.log(`setup: ${line}`));
  const context = { root, verbose: options.verbose ?? false, log, state: readState(root) };
  const started = performance.now();
  checkNode();
  const steps = [await installPackages(context), await buildTypeScript(context), await buildPage(context)];
  const addon = await buildAddon(context);
  writeState(root, { ...context.state, engine: addon.engine, reason: addon.reason });
  const changed = addon.changed || steps.includes(true);
  const engine = addon.engine === "native" ? "native engine" : `${NAMES[addon.engine]} (no addon)`;
  log(`${changed ? "ready" : "up to date"}: npm packages, dist/, web/dist/, ${engine}; ${seconds(started)}`);
  return { engine: addon.engine, reason: addon.reason, changed };
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new SetupError(
    `Node ${process.versions.node} is too old; ${OLDEST_NODE.join(".")} or newer is needed`,
    "install Node 20 (LTS) or 24 from https://nodejs.org",
  );
}

// ── npm packages ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Runs `npm ci` unless node_modules already holds what the lock file says. An installed package has no lock file. */
async function installPackages({ root, verbose, log }) {
  const lockFile = join(root, "package-lock.json");
  if (!existsSync(lockFile) || packagesMatchLock(root)) return false;
  const started = performance.now();
  log("installing npm packages …");
  // onnxruntime-node would download CUDA libraries from outside the npm registry; whoever wants them sets this variable.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: process.env.ONNXRUNTIME_NODE_INSTALL ?? "skip" };
  const args = [npmCli(), "ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=notice"];
  const result = await run(process.execPath, args, { cwd: root, env, verbose });
  if (result.code !== 0) {
    // npm names the cause first and ends with a page of help.
    const lines = result.output.split("\n").filter((line) => /^npm error .*\S/.test(line));
    throw new SetupError(`npm ci failed\n${indent(lines.slice(0, 12).join("\n"))}`, npmAdvice(result.output));
  }
  log(`npm packages installed, ${seconds(started)}`);
  return true;
}

/** Compares package-lock.json with npm's own record of what it installed; packages for other platforms may be absent. */
export function packagesMatchLock(root) {
  const installed = readJson(join(root, "node_modules/.package-lock.json"))?.packages;
  const wanted = readJson(join(root, "package-lock.json"))?.packages;
  if (!installed || !wanted) return false;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    if (installed[path] === undefined ? !entry.optional : installed[path].version !== entry.version)
      return false;
  }
  const direct = { ...wanted[""]?.dependencies, ...wanted[""]?.devDependencies };
  return Object.keys(direct).every((name) => existsSync(join(root, "node_modules", name, "package.json")));
}

/** npm's JavaScript entry, started with this very Node: the same on every platform, and no shell. */
function npmCli() {
  const beside = dirname(process.execPath);
  const candidates = [
    process.env.npm_execpath,
    join(beside, "node_modules/npm/bin/npm-cli.js"),
    join(beside, "../lib/node_modules/npm/bin/npm-cli.js"),
    ...searchPath()
      .split(delimiter)
      .flatMap((dir) => [join(dir, "npm"), join(dir, "node_modules/npm/bin/npm-cli.js")]),
  ];
  for (const candidate of candidates) {
    if (!candidate || !existsSync(candidate)) continue;
    const real = realpathSync(candidate);
    if (real.endsWith("npm-cli.js")) return real;
  }
  throw new SetupError(
    "npm was not found",
    "install it with Node from https://nodejs.org (Debian: apt-get install npm)",
  );
}

export function npmAdvice(output) {
  const cases = [
    [
      /EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|network/i,
      "the npm registry could not be reached: check the network or proxy, and `npm config get registry`",
    ],
    [/EUSAGE/, "package.json and package-lock.json disagree: run `npm install` and look at the change"],
    [/EINTEGRITY/, "a package differs from the lock file: run `npm cache clean --force`, then try again"],
    [/ENOSPC/, "the disk is full; about 700 MB are needed"],
    [/EACCES|EPERM|EBUSY/, "node_modules cannot be written: check its owner, and close programs that use it"],
    [/E404|ETARGET/, "the registry in use lacks a package: see `npm config get registry`"],
  ];
  return (
    cases.find(([pattern]) => pattern.test(output))?.[1] ??
    "run again with --verbose to see all of npm's output"
  );
}

// ── TypeScript ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Compiles src/ into a new folder and swaps it in whole, so that a failed build leaves the last good dist/. */
export async function buildTypeScript({ root, verbose, log, state = readState(root) }) {
  if (!existsSync(join(root, "src"))) return false;
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const sources = filesIn(join(root, "src")).filter((file) => !file.endsWith(".test.ts"));
  const configs = ["tsconfig.json", "tsconfig.build.json", "node_modules/typescript/package.json"];
  const key = hashFiles(root, [...sources, ...configs.map((file) => join(root, file))]);
  const dist = join(root, "dist");
  if (state.dist === key && existsSync(dist)) return false;
  const started = performance.now();
  log("building TypeScript …");
  const next = join(root, `dist.${process.pid}.tmp`);
  const args = [compiler, "-p", join(root, "tsconfig.build.json"), "--outDir", next];
  const result = await run(process.execPath, args, { cwd: root, verbose });
  if (result.code !== 0) {
    rmSync(next, { recursive: true, force: true });
    throw new SetupError(`TypeScript does not compile\n${indent(result.tail)}`, "see `npm run check`");
  }
  rmSync(dist, { recursive: true, force: true, maxRetries: 3 });
  renameSync(next, dist);
  state.dist = key;
  writeState(root, state);
  log(`TypeScript built to dist/, ${seconds(started)}`);
  return true;
}

// ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Builds web/ into a new folder and swaps it in whole, unless it is up to date. An installed package has the built page and none of its sources. */
export async function buildPage({ root, verbose, log, state = readState(root) }) {
  const web = join(root, "web");
  if (!existsSync(join(web, "src"))) return false;
  const vite = join(root, "node_modules/vite");
  const sources = filesIn(web, ["dist", "node_modules"]).filter((file) => !/\.(test\.ts|tmp)$/.test(file));
  // What of src/ the page uses is all in these rooms, whole, since imports are not followed here.
  const shared = ["src/dashboard", "src/report"].flatMap((folder) => filesIn(join(root, folder)));
  const packages = ["vite", "preact", "hyparquet", "fzstd"].map((name) =>
    join(root, "node_modules", name, "package.json"),
  );
  const key = hashFiles(root, [
    ...sources,
    ...shared.filter((file) => !file.endsWith(".test.ts")),
    ...packages,
  ]);
  const built = join(web, "dist");
  if (state.page === key && existsSync(join(built, "index.html"))) return false;
  const started = performance.now();
  log("building the page …");
  const next = join(web, `dist.${process.pid}.tmp`);
  const args = [
    join(vite, "bin/vite.js"),
    "build",
    web,
    "--outDir",
    next,
    "--emptyOutDir",
    "--logLevel",
    "warn",
  ];
  // whatever runs this, the page is for use: a test's NODE_ENV would build it for debugging
  const env = { ...process.env, NODE_ENV: "production" };
  const result = await run(process.execPath, args, { cwd: root, env, verbose });
  if (result.code !== 0) {
    rmSync(next, { recursive: true, force: true });
    throw new SetupError(`the page does not build\n${indent(result.tail)}`, "see `npm run check`");
  }
  rmSync(built, { recursive: true, force: true, maxRetries: 3 });
  renameSync(next, built);
  state.page = key;
  writeState(root, state);
  log(`the page built to web/dist/, ${seconds(started)}`);
  return true;
}

// ── the native addon ────────────────────────────────────────────────────────────────────────────────────────────────

async function buildAddon(context) {
  const { root, log, state } = context;
  const native = join(root, "native");
  const built = join(native, "build/Release/lapidary.node");
  const prebuilt = join(native, "prebuilds", `${process.platform}-${process.arch}`, "lapidary.node");
  const instead = wasmRuns(root) ? "wasm" : "reference";
  const none = (reason) => ({ engine: instead, reason, changed: false });
  if (!existsSync(join(native, "binding.gyp")) && !existsSync(prebuilt))
    return none("there are no native sources");

  const sources = existsSync(native) ? filesIn(native, ["build", "prebuilds", "wasm"]) : [];
  const key = `${hashFiles(root, sources)} ${process.platform}-${process.arch} abi ${process.versions.modules}`;
  if (state.addon === key && existsSync(built))
    return { engine: "native", reason: "built here", changed: false };

  const attempt = await tryBuild(context, native, built);
  if (attempt.ok) {
    state.addon = key;
    return { engine: "native", reason: "built here", changed: true };
  }
  // What is left of an older or failed build must not be loaded by mistake.
  rmSync(built, { force: true });
  if (existsSync(prebuilt) && loads(prebuilt)) {
    log(`native addon not built: ${attempt.reason}; using the prebuilt one`);
    return { engine: "native", reason: "prebuilt", changed: false };
  }
  log(`native addon not built: ${attempt.reason}`);
  log(`the ${NAMES[instead]} will run: the same results within rounding, slower`);
  return none(attempt.reason);
}

const NAMES = { wasm: "WebAssembly engine", reference: "reference engine" };

/** Whether the module that ships with the package can run here. */
function wasmRuns(root) {
  const file = join(root, "native/wasm/lapidary.wasm");
  return existsSync(file) && globalThis.WebAssembly !== undefined && WebAssembly.validate(readFileSync(file));
}

/** Compiles native/ and loads the result in a process of its own. Says why where it cannot. */
async function tryBuild({ root, verbose, log }, native, built) {
  const missing = await missingTools({ verbose, log });
  if (missing.length > 0) return { ok: false, reason: `${missing.join(", ")} not found` };
  const nodeGyp = nodeGypCli(root);
  if (nodeGyp === undefined) return { ok: false, reason: "node-gyp not found" };
  const started = performance.now();
  log("building the native addon …");
  const args = [nodeGyp, "rebuild", `--directory=${native}`, "--jobs=max"];
  const headers = nodeHeaders(root);
  if (headers !== undefined) args.push(`--nodedir=${headers}`);
  // binding.gyp asks `node` for an include folder: this very Node, whatever the user's PATH says.
  const path = `${dirname(process.execPath)}${delimiter}${searchPath()}`;
  const env = { ...process.env, PATH: path, npm_config_loglevel: "info" };
  const result = await run(process.execPath, args, { cwd: root, env, verbose });
  if (result.code !== 0) {
    const compiler = result.output
      .split("\n")
      .filter((line) => !/^gyp (info|ERR! (System|command|cwd|node|stack|\$npm))/.test(line));
    log(`node-gyp failed:\n${indent(compiler.join("\n").trimEnd().split("\n").slice(-25).join("\n"))}`);
    const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network connectivity/.test(result.output);
    return {
      ok: false,
      reason: offline
        ? "Node's headers could not be downloaded; `npm config set nodedir FOLDER` names a local copy"
        : "it does not compile here, see the messages above",
    };
  }
  if (!loads(built)) return { ok: false, reason: "it was built, but does not load on this machine" };
  log(`native addon built, ${seconds(started)}`);
  return { ok: true };
}

/** What node-gyp needs and this machine lacks, after trying apt-get where we may. */
async function missingTools({ verbose, log }) {
  if (process.platform === "win32") return hasVisualStudio() ? [] : ["Visual Studio's C++ build tools"];
  const look = () =>
    [
      ["g++", [process.env.CXX, "c++", "g++", "clang++"]],
      ["make", [process.env.MAKE, "make", "gmake"]],
      ["python3", [process.env.npm_config_python, process.env.PYTHON, "python3", "python"]],
    ]
      .filter(([, programs]) => !programs.some((program) => program && answers(program)))
      .map(([name]) => name);
  const missing = look();
  if (missing.length === 0 || !mayUseApt()) return missing;
  log(`installing ${missing.join(", ")} with apt-get …`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", ["update", "-qq"], { env, verbose });
  const install = ["install", "-y", "-qq", "--no-install-recommends", ...missing];
  const result = await run("apt-get", install, { env, verbose });
  if (result.code !== 0) log(`apt-get failed:\n${indent(result.tail)}`);
  return look();
}

/** Root on Debian (or one of its children), and not told otherwise. */
function mayUseApt() {
  return (
    process.getuid?.() === 0 &&
    existsSync("/etc/debian_version") &&
    !process.env.LAPIDARY_NO_APT &&
    answers("apt-get")
  );
}

/** Whether the program runs at all: on macOS `c++` exists, and fails, without the command line tools. */
function answers(program) {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;
}

function hasVisualStudio() {
  const programs = process.env["ProgramFiles(x86)"] ?? "C:\\Program Files (x86)";
  const vswhere = join(programs, "Microsoft Visual Studio", "Installer", "vswhere.exe");
  const part = "Microsoft.VisualStudio.Component.VC.Tools.x86.x64";
  const args = ["-latest", "-products", "*", "-requires", part, "-property", "installationPath"];
  const found = spawnSync(vswhere, args, { encoding: "utf8" });
  return found.status === 0 && found.stdout.trim() !== "";
}

/** Our own node-gyp, else the one inside npm (an installed package has no development dependencies). */
function nodeGypCli(root) {
  const own = join(root, "node_modules/node-gyp/bin/node-gyp.js");
  if (existsSync(own)) return own;
  const inNpm = join(dirname(npmCli()), "../node_modules/node-gyp/bin/node-gyp.js");
  return existsSync(inNpm) ? inNpm : undefined;
}

/**
 * A folder with Node's C headers: npm's `nodedir`, else what lies beside this Node if it is of this very version. Undefined:
 * node-gyp will download them.
 */
function nodeHeaders(root) {
  const named =
    process.env.npm_config_nodedir ??
    spawnSync(process.execPath, [npmCli(), "config", "get", "nodedir"], {
      cwd: root,
      encoding: "utf8",
    }).stdout?.trim();
  if (named && named !== "undefined" && existsSync(named)) return named;
  const prefix = resolve(dirname(realpathSync(process.execPath)), "..");
  const header = join(prefix, "include/node/node_version.h");
  if (!existsSync(header) || !existsSync(join(prefix, "include/node/common.gypi"))) return undefined;
  const text = readFileSync(header, "utf8");
  const part = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  const version = [part("MAJOR"), part("MINOR"), part("PATCH")].join(".");
  return version === process.versions.node ? prefix : undefined;
}

function loads(addon) {
  const code = "require(process.argv[1])";
  return spawnSync(process.execPath, ["-e", code, addon], { stdio: "ignore" }).status === 0;
}

// ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Runs a program without a shell; its output is kept, and shown only when `verbose`. */
function run(program, args, { cwd, env, verbose }) {
  return new Promise((done) => {
    const chunks = [];
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        chunks.push(chunk);
        if (verbose) process.stderr.write(chunk);
      });
    const finish = (code) => {
      const output = Buffer.concat(chunks).toString("utf8");
      done({ code, output, tail: output.trimEnd().split("\n").slice(-25).join("\n") });
    };
    child.on("error", (error) => {
      chunks.push(Buffer.from(String(error)));
      finish(1);
    });
    child.on("close", (code) => finish(code ?? 1));
  });
}

function filesIn(folder, except = []) {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !except.includes(entry.name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesIn(path) : [path];
    })
    .sort();
}

function hashFiles(root, files) {
  const hash = createHash("sha256");
  for (const file of files)
    hash
      .update(`${relative(root, file)}\0`)
      .update(existsSync(file) ? readFileSync(file) : "")
      .update("\0");
  return hash.digest("hex");
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

const stateFile = (root) => join(root, ".cache/setup.json");
const readState = (root) => readJson(stateFile(root)) ?? {};

function writeState(root, state) {
  const text = `${JSON.stringify(state, null, 2)}\n`;
  const file = stateFile(root);
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const searchPath = () => process.env.PATH ?? process.env.Path ?? "";
const indent = (text) => text.replace(/^/gm, "  ");
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await setup({ verbose: process.argv.includes("--verbose") });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`setup: ${error.message}\n       → ${error.hint}`);
    process.exitCode = 1;
  }
}
