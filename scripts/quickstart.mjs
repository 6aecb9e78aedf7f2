/**
 * The quickstart: sets the clone up, then adapts the embedded base SAEs to the embedded instruction-tuned model.
 *
 *   node scripts/quickstart.mjs [options of `lapidary run`]
 */
import { spawn } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError, setup } from "./setup.mjs";

const RECIPE = "recipes/tiny-gemma.yaml";

/** What is asked of slower engines instead: enough to see one SAE improve, within minutes; a run of its own. */
const SMALLER = {
  wasm: { name: "tiny-gemma-layer-4", layers: "[4]" },
  reference: {
    name: "tiny-gemma-small",
    layers: "[4]",
    "corpus.tokens": 60000,
    "train.epochs": 1,
    "eval.tokens": 8192,
  },
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

try {
  const { engine, reason } = await setup({ root });
  if (engine === "wasm") console.log(`quickstart: WebAssembly engine (${reason}): one layer`);
  if (engine === "reference")
    console.log(`quickstart: reference engine (${reason}): one layer, fewer tokens`);
  const smaller = engine === "native" ? {} : SMALLER[engine];
  const budget = Object.entries(smaller).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const args = [join(root, "dist/cli/main.js"), "run", RECIPE, ...budget, ...process.argv.slice(2)];
  process.exitCode = await run(process.execPath, args);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}\n       → ${error.hint}`);
  process.exitCode = 1;
}

/** Ctrl-C reaches the child too, which stops in its own time; this process waits for it. */
function run(program, args) {
  process.on("SIGINT", () => {});
  return new Promise((done, fail) => {
    const child = spawn(program, args, { cwd: root, stdio: "inherit" });
    child.on("error", fail);
    child.on("close", (code) => done(code ?? 130));
  });
}
