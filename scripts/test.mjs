/**
 * `npm test`: sets the clone up, then runs every check, one after the other, each under a heading with its time. All of them
 * run even when one fails; the exit status says whether any did.
 *
 *   npm test                          everything
 *   npm test -- src/sae               only the test files whose path contains src/sae
 *   npm test -- -t "threshold"        only the tests with that in their name
 *   npm test -- --reporter=verbose    everything; options go to vitest
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError, setup } from "./setup.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(join(root, "package.json"));
const forVitest = process.argv.slice(2);
const onlySome = forVitest.some((arg) => !arg.startsWith("-") || /^(-t|--testNamePattern)\b/.test(arg));

const bin = (...path) => join(root, "node_modules", ...path);
const node = (title, ...args) => ({ title, args });

/** Benches at a size that takes a second or two: they run, and their checks pass. */
const QUICK_BENCH = "train encode decode --d 64 --F 512 --k 8 --batch 128 --seconds 0.2".split(" ");

/** Every step is a Node program: no shell, and the same on every platform. */
function allSteps() {
  const vitest = { ...node("tests", bin("vitest/vitest.mjs"), "run", ...forVitest), summary: true };
  if (onlySome) return [vitest];
  return [
    biomeRuns()
      ? node("lint and format", bin("@biomejs/biome/bin/biome"), "check", "--error-on-warnings", ".")
      : { title: "lint and format", skip: "the lock file holds no biome for this platform" },
    node("types", bin("typescript/bin/tsc"), "-b", ".", "web"),
    node("imports", "scripts/check-imports.mjs"),
    vitest,
    ...examples().map((file) => node(`examples/${file}`, "--import", "tsx", join("examples", file))),
    node("bench, quick", "--import", "tsx", "bench/main.ts", ...QUICK_BENCH),
  ];
}

/** biome is one binary a platform; musl and others may be missing from the registry, and so from the lock file. */
function biomeRuns() {
  return ["", "-musl"].some((libc) => {
    try {
      return require.resolve(`@biomejs/cli-${process.platform}-${process.arch}${libc}/package.json`) !== "";
    } catch {
      return false;
    }
  });
}

function examples() {
  const folder = join(root, "examples");
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => /\.(ts|mjs)$/.test(name))
        .sort()
    : [];
}

/** What is shown again at the end: the counts, and the name of every test that failed. */
const SAID_AGAIN = /Test(s| Files) .*(passed|failed)|\bFAIL\b/;

/** Runs one step with its output shown; of the tests, keeps what is {@link SAID_AGAIN}. */
function run({ args, summary }) {
  return new Promise((done) => {
    const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: "1" } : {};
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...(summary ? colour : {}) },
      stdio: ["ignore", summary ? "pipe" : "inherit", summary ? "pipe" : "inherit"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        process[stream === child.stdout ? "stdout" : "stderr"].write(chunk);
        text += chunk;
      });
    }
    child.on("error", (error) => done({ ok: false, lines: [String(error)] }));
    child.on("close", (code) =>
      done({
        ok: code === 0,
        lines: text.split("\n").filter((line) => SAID_AGAIN.test(line)),
      }),
    );
  });
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

async function main() {
  const started = performance.now();
  await setup({ root });
  const results = [];
  for (const step of allSteps()) {
    console.log(`\n── ${step.title} ${"─".repeat(Math.max(0, 70 - step.title.length))}`);
    if (step.skip) {
      console.log(`skipped: ${step.skip}`);
      results.push({ title: step.title, mark: "skipped", time: "", lines: [step.skip] });
      continue;
    }
    const since = performance.now();
    const { ok, lines } = await run(step);
    results.push({ title: step.title, mark: ok ? "ok" : "FAILED", time: seconds(since), lines });
  }
  console.log(`\n── summary ${"─".repeat(63)}`);
  for (const { title, mark, time, lines } of results) {
    console.log(`${mark.padEnd(8)} ${title.padEnd(34)} ${time.padStart(8)}`);
    for (const line of lines) console.log(`         ${line.trim()}`);
  }
  const failed = results.filter((result) => result.mark === "FAILED");
  console.log(`${failed.length === 0 ? "all passed" : `${failed.length} failed`}, ${seconds(started)}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}\n       → ${error.hint}`);
  process.exitCode = 1;
}
