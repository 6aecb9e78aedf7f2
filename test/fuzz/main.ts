/**
 * `npm run fuzz`: every target with many inputs, and what came of them. Exit code 1 if one was neither read nor refused.
 *
 *   npm run fuzz -- [inputs a target, default 10000] [seed, default 1] [targets whose names contain this]
 */
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const [inputs = 10_000, seed = 1] = process.argv.slice(2, 4).map(Number);
const wanted = process.argv[4] ?? "";
let total = 0;
let nProblems = 0;
console.log("target                              inputs   refused      read  seconds");
for (const { name } of TARGETS.filter(({ name }) => name.includes(wanted))) {
  const started = performance.now();
  const { refused, read, problems } = await fuzz(name, seed, 0, inputs);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const columns = [refused + read, refused, read, seconds].map((value, i) =>
    String(value).padStart(i === 0 ? 9 : 9),
  );
  console.log(`${name.padEnd(33)}${columns.join(" ")}`);
  for (const problem of problems) console.log(`  ${problem.replaceAll("\n", "\n    ")}`);
  total += refused + read;
  nProblems += problems.length;
}
console.log(`${total} inputs, ${nProblems} problems`);
process.exitCode = nProblems === 0 ? 0 : 1;
