/**
 * `npm run parity:arm`: the same bits on x86-64 and on arm64. Builds native/test/parity.cc (every kernel) and engine.cc (a
 * few training steps) for both with the flags of native/binding.gyp, runs them, the foreign ones under qemu, and compares
 * their hashes. The addon itself is compiled and linked for the other processor where Node's headers are at hand, but not
 * run: that would need another Node.
 *
 * Needs g++, a cross compiler and qemu's user emulation. Exit status 2: something of that is missing.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const native = resolve(dirname(fileURLToPath(import.meta.url)), "../native");
const gyp = JSON.parse(readFileSync(join(native, "binding.gyp"), "utf8").replace(/^\s*#.*$/gm, ""));

/** A processor with AVX-512 alone can test avx_vnni.cc if it is built with the encoding that it knows. */
function evexInsteadOfVex() {
  if (process.platform !== "linux" || process.arch !== "x64") return [];
  const features = readFileSync("/proc/cpuinfo", "utf8");
  return /\bavx512_vnni\b/.test(features) && !/\bavx_vnni\b/.test(features) ? ["LAPIDARY_EVEX_VNNI"] : [];
}

/** What differs between processors. `runs`: options of the emulator, and which kernels must then be there and which not. */
const PROCESSORS = {
  x64: {
    triple: "x86_64-linux-gnu",
    emulator: "qemu-x86_64",
    defines: evexInsteadOfVex(),
    runs: [{ title: "", options: [], has: [], lacks: [] }],
  },
  arm64: {
    triple: "aarch64-linux-gnu",
    emulator: "qemu-aarch64",
    defines: [],
    runs: [
      { title: "", options: ["-cpu", "max"], has: ["NEON dotprod"], lacks: [] },
      { title: " without dotprod", options: ["-cpu", "cortex-a57"], has: ["NEON"], lacks: ["NEON dotprod"] },
    ],
  },
};

class Failure extends Error {}

// ── what binding.gyp says ────────────────────────────────────────────────────────────────────────────────────────────

const conditional = (conditions, arch) =>
  (conditions ?? []).filter(([test]) => test === `target_arch=='${arch}'`).map(([, then]) => then);

/** The static libraries of kernels: their sources, and flags and definitions of their own. */
function kernelLibraries(arch) {
  const extra = conditional(gyp.conditions, arch).flatMap(({ targets }) => targets);
  return [...gyp.targets, ...extra].filter(({ type }) => type === "static_library");
}

/** The addon's own sources, those that know JavaScript apart, and its definitions. */
function addonTarget(arch) {
  const target = gyp.targets.find(({ target_name }) => target_name === "lapidary");
  const defines = [target, ...conditional(target.conditions, arch)].flatMap((part) => part.defines ?? []);
  const speaksJavaScript = (source) =>
    /#include <napi\.h>|"engine_object\.h"/.test(readFileSync(join(native, source), "utf8"));
  return {
    defines,
    border: target.sources.filter(speaksJavaScript),
    core: target.sources.filter((source) => !speaksJavaScript(source)),
  };
}

const commonFlags = [...gyp.target_defaults.cflags, ...gyp.target_defaults.cflags_cc, "-pthread"];
const asFlags = (defines) => defines.map((define) => `-D${define}`);

// ── tools ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const answers = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** Compiler and emulator for a processor, or what is missing. */
function toolsFor(arch) {
  const { triple, emulator } = PROCESSORS[arch];
  if (arch === process.arch)
    return { compiler: "g++", emulator: null, missing: answers("g++") ? [] : ["g++"] };
  const compiler = `${triple}-g++`;
  const found = [emulator, `${emulator}-static`].find(answers);
  const missing = [];
  if (!answers(compiler)) missing.push(`${compiler} (Debian: g++-${triple.replace("_", "-")})`);
  if (found === undefined) missing.push(`${emulator} (Debian: qemu-user)`);
  return { compiler, emulator: found ?? null, missing };
}

/** Resolves with what it printed; rejects with that if the status is not 0. */
function run(command, args) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd: native, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.on("error", fail);
    child.on("close", (code, signal) => {
      if (code === 0) done(output);
      else
        fail(new Failure(`${basename(command)} ${args.join(" ")}: ${signal ?? `status ${code}`}\n${output}`));
    });
  });
}

/** Does the jobs in their order, a few at a time. */
async function inParallel(jobs) {
  const queue = jobs.values();
  const worker = async () => {
    for (const job of queue) await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

// ── building and running ─────────────────────────────────────────────────────────────────────────────────────────────

/** Builds both programs for a processor. Returns their paths and the objects, which the addon can be made of too. */
async function build(arch, { compiler, emulator }, folder) {
  mkdirSync(folder);
  const { defines, core } = addonTarget(arch);
  const own = asFlags(PROCESSORS[arch].defines);
  const object = (source) => join(folder, `${source.replaceAll("/", "-")}.o`);
  const compile = (source, flags) => () =>
    run(compiler, [...commonFlags, ...flags, ...own, "-fPIC", "-c", source, "-o", object(source)]);
  const kernels = kernelLibraries(arch).flatMap(({ sources, cflags = [], defines: more = [] }) =>
    sources.map((source) => ({ source, flags: [...cflags, ...asFlags(more)] })),
  );
  const programs = ["test/parity.cc", "test/engine.cc"];
  const rest = [...programs, ...core].map((source) => ({ source, flags: asFlags(defines) }));
  await inParallel([...kernels, ...rest].map(({ source, flags }) => compile(source, flags)));
  const objects = [...kernels.map(({ source }) => source), ...core].map(object);
  const paths = programs.map((source) => join(folder, basename(source, ".cc")));
  await inParallel(
    programs.map(
      (source, at) => () =>
        run(compiler, [
          ...(emulator === null ? [] : ["-static"]),
          "-pthread",
          object(source),
          ...objects,
          "-o",
          paths[at],
        ]),
    ),
  );
  return { programs: paths, objects };
}

/** Compiles and links the addon; what Node provides stays undefined. Returns why not, or null. */
async function buildAddon(arch, { compiler }, objects, folder) {
  const headers = resolve(dirname(process.execPath), "../include/node");
  if (!existsSync(join(headers, "node_api.h"))) return "no headers of Node beside its binary";
  const { defines, border } = addonTarget(arch);
  const include = createRequire(import.meta.url)("node-addon-api").include_dir;
  // -idirafter: Node may lie in /usr, whose own headers are for another processor.
  const flags = [...asFlags(defines), "-I", resolve(native, "..", include), "-idirafter", headers];
  const object = (source) => join(folder, `${basename(source)}.o`);
  await inParallel(
    border.map(
      (source) => () =>
        run(compiler, [...commonFlags, ...flags, "-fPIC", "-c", source, "-o", object(source)]),
    ),
  );
  const addon = join(folder, "lapidary.node");
  await run(compiler, ["-shared", "-pthread", ...border.map(object), ...objects, "-o", addon]);
  return null;
}

/** Runs the programs as one machine, checks what it has, prints the lines, and returns every [name, hash] in them. */
async function hashesOf(arch, { emulator }, programs, { title, options, has, lacks }) {
  console.log(`\n${arch}${title}${emulator === null ? "" : `, ${[emulator, ...options].join(" ")}`}`);
  const outputs = [];
  for (const program of programs)
    outputs.push(await (emulator === null ? run(program, []) : run(emulator, [...options, program])));
  const output = outputs.join("");
  console.log(output.trimEnd().replace(/^/gm, "  "));
  const names = output.split("\n").map((line) => line.replace(/ +\w+=.*/, ""));
  for (const name of has) if (!names.includes(name)) throw new Failure(`no ${name} kernels were found`);
  for (const name of lacks)
    if (names.includes(name)) throw new Failure(`${name} kernels were taken to be there`);
  return [...output.matchAll(/(\w+)=([0-9a-f]{16})/g)].map(([, name, hash]) => [name, hash]);
}

async function main() {
  const tools = Object.keys(PROCESSORS).map((arch) => [arch, toolsFor(arch)]);
  const missing = tools.flatMap(([, { missing }]) => missing);
  if (missing.length > 0) {
    console.error(`parity:arm: cannot run here, there is no ${missing.join(" and no ")}`);
    process.exitCode = 2;
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "lapidary-parity-"));
  try {
    const hashes = new Map();
    for (const [arch, tool] of tools) {
      const { programs, objects } = await build(arch, tool, join(folder, arch));
      for (const machine of PROCESSORS[arch].runs)
        for (const [name, hash] of await hashesOf(arch, tool, programs, machine))
          hashes.set(name, (hashes.get(name) ?? new Set()).add(hash));
      if (arch === process.arch) continue;
      const refusal = await buildAddon(arch, tool, objects, join(folder, arch));
      console.log(
        `  addon: ${refusal === null ? "compiles and links; not run" : `not compiled: ${refusal}`}`,
      );
    }
    const different = [...hashes].filter(([, seen]) => seen.size > 1).map(([name]) => name);
    if (different.length > 0) throw new Failure(`different bits: ${different.join(", ")}`);
    console.log(`\nthe same bits everywhere: ${[...hashes.keys()].join(", ")}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`parity:arm: ${error.message}`);
  process.exitCode = 1;
}
