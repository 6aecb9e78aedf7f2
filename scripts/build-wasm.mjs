/**
 * Builds native/wasm/lapidary.wasm, the C++ engine as WebAssembly, which is committed and shipped: nobody needs this
 * compiler to run or test Lapidary.
 *
 *   node scripts/build-wasm.mjs      (npm run wasm)
 *
 * Needs Debian's clang-19, lld-19, wasi-libc, libc++-19-dev-wasm32, libc++abi-19-dev-wasm32 and
 * libclang-rt-19-dev-wasm32; LAPIDARY_WASM_CXX names another clang++. The same sources and compiler give the same bytes.
 * A stamp inside the module (custom section `lapidary`) says which code it was made from, so that a test can tell when it
 * is stale.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Where the module lies, below the root. */
export const WASM_FILE = "native/wasm/lapidary.wasm";

/** All of the engine but N-API, threads and what looks at the processor. */
const SOURCES = [
  "native/src/aligned_array.cc",
  "native/src/audit.cc",
  "native/src/aux_dense.cc",
  "native/src/aux_loss.cc",
  "native/src/backward.cc",
  "native/src/decode.cc",
  "native/src/dense.cc",
  "native/src/dense_gradients.cc",
  "native/src/dense_step.cc",
  "native/src/engine.cc",
  "native/src/entries.cc",
  "native/src/gradients.cc",
  "native/src/quantise.cc",
  "native/src/rule.cc",
  "native/src/screen.cc",
  "native/src/select.cc",
  "native/src/train_step.cc",
  "native/src/kernels/wasm.cc",
  "native/wasm/exports.cc",
  "native/wasm/host.cc",
];

/** As binding.gyp compiles, for plain simd128. `throw` becomes calls that native/wasm/host.cc answers. */
const COMPILE = [
  "--target=wasm32-wasi",
  "-std=c++17",
  "-O3",
  "-msimd128",
  "-ffp-contract=off",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-fignore-exceptions",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-Wno-psabi",
];

/** Functions to call and no `main`; memory that grows to 4 GiB, of which src/kernels/wasm/memory.ts plans with a part. */
const LINK = ["-mexec-model=reactor", "-Wl,--max-memory=4294967296", "-Wl,--strip-all"];

const STAMP = "lapidary";

/** The stamp of a module: compiler, flags, and the hash of every source file, or null if it has none. */
export function readStamp(bytes) {
  const module = new WebAssembly.Module(bytes);
  const [section] = WebAssembly.Module.customSections(module, STAMP);
  return section === undefined ? null : JSON.parse(new TextDecoder().decode(section));
}

/** What has changed since the module was built: sources, this script's list of them, its flags. */
export function staleSources(bytes) {
  const { sources = {}, flags = [] } = readStamp(bytes) ?? {};
  const changed = Object.keys(sources).filter((file) => hashOf(file) !== sources[file]);
  const added = SOURCES.filter((file) => sources[file] === undefined);
  const reflagged = flags.join() === [...COMPILE, ...LINK].join() ? [] : ["the compiler's flags"];
  return [...changed, ...added, ...reflagged];
}

/** Of the code: comments and white space do not count, so that they can be changed without the compiler. */
function hashOf(file) {
  const path = join(root, file);
  if (!existsSync(path)) return "absent";
  const code = readFileSync(path, "utf8")
    .replace(/("(?:[^"\\\n]|\\.)*")|\/\/[^\n]*/g, (_, text) => text ?? "")
    .replace(/\s+/g, " ")
    .trim();
  return createHash("sha256").update(code).digest("hex");
}

function build() {
  const compiler = process.env.LAPIDARY_WASM_CXX ?? "clang++-19";
  const [version] = run(compiler, ["--version"]).split("\n");
  const folder = mkdtempSync(join(tmpdir(), "lapidary-wasm-"));
  try {
    const out = join(folder, "lapidary.wasm");
    run(compiler, [...COMPILE, ...LINK, "-o", out, ...SOURCES]);
    const sources = Object.fromEntries(dependencies(compiler).map((file) => [file, hashOf(file)]));
    const stamp = JSON.stringify({ compiler: version, flags: [...COMPILE, ...LINK], sources });
    const bytes = Buffer.concat([readFileSync(out), customSection(STAMP, Buffer.from(stamp))]);
    const target = join(root, WASM_FILE);
    writeFileSync(`${target}.tmp`, bytes);
    renameSync(`${target}.tmp`, target);
    console.log(`${WASM_FILE}: ${bytes.length} bytes, by ${version}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The sources and every header of ours that they include. */
function dependencies(compiler) {
  const rules = run(compiler, [...COMPILE, "-MM", ...SOURCES]);
  const files = rules
    .replaceAll("\\\n", " ")
    .split(/\s+/)
    .filter((word) => word !== "" && !word.endsWith(":"))
    .map((file) => relative(root, resolve(root, file)).split(sep).join("/"));
  return [...new Set(files)].sort();
}

/** A section that every host ignores: id 0, its length, its name, its bytes. */
function customSection(name, content) {
  const named = Buffer.concat([leb128(name.length), Buffer.from(name), content]);
  return Buffer.concat([Buffer.of(0), leb128(named.length), named]);
}

function leb128(n) {
  const bytes = [];
  for (; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) + 128);
  return Buffer.of(...bytes, n);
}

function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
  if (error !== undefined) throw new BuildError(`${program} does not run: ${error.message}`);
  if (status !== 0) throw new BuildError(`${program} failed\n${stderr}`);
  if (stderr !== "") console.error(stderr);
  return stdout;
}

class BuildError extends Error {}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    build();
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(
      `${error.message}\n→ apt-get install clang-19 lld-19 wasi-libc libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32`,
    );
    process.exitCode = 1;
  }
}
