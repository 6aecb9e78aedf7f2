/**
 * `npm run bench`: measures. Each bench first checks its answer, then times, and prints one JSON document on standard
 * output; what is for people goes to standard error.
 *
 *   npm run bench                         every bench in bench/
 *   npm run bench -- train-step           one of them
 *   npm run bench -- train-step --quick   tiny sizes, a second or two: only shows that it runs
 *   npm run bench -- train-step --save    also writes bench/results/<bench>-<date>-<processor>.json
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const options = process.argv.slice(2).filter((arg) => arg.startsWith("-"));
const asked = process.argv.slice(2).filter((arg) => !arg.startsWith("-"));
const benches = readdirSync(join(root, "bench"))
  .filter((name) => name.endsWith(".bench.ts"))
  .map((name) => name.replace(/\.bench\.ts$/, ""))
  .sort();

const unknown = asked.filter((name) => !benches.includes(name));
if (unknown.length > 0) {
  console.error(`no bench called ${unknown.join(", ")}; there are: ${benches.join(", ")}`);
  process.exit(2);
}

let failed = 0;
for (const name of asked.length > 0 ? asked : benches) {
  const file = join(root, "bench", `${name}.bench.ts`);
  const { status } = spawnSync(process.execPath, ["--import", loader(), file, ...options], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) failed += 1;
}
process.exitCode = failed > 0 ? 1 : 0;

/** tsx, which runs TypeScript in Node: a development dependency. */
function loader() {
  const manifest = join(root, "node_modules", "tsx", "package.json");
  if (!existsSync(manifest)) {
    console.error("benches need tsx: run npm run setup in a clone of the repository");
    process.exit(1);
  }
  return pathToFileURL(createRequire(manifest).resolve("tsx")).href;
}
