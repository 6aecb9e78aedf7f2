/**
 * `npm run fuzz`: every target with many inputs, as many targets at a time as there are cores, and what came of them. Exit
 * code 1 if an input was neither read nor refused. 100 000 inputs a target take some four hours on two cores; CI runs the
 * 150 of `fuzz.test.ts`.
 *
 *   npm run fuzz -- [inputs a target, default 100000] [seed, default 1] [targets whose names contain this]
 */
import { availableParallelism } from "node:os";
import { Fuzzer } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const [inputs = 100_000, seed = 1] = process.argv.slice(2, 4).map(Number);
const wanted = process.argv[4] ?? "";
const queue = TARGETS.filter(({ name }) => name.includes(wanted)).map(({ name }) => name);
let total = 0;
let nProblems = 0;
console.log("target                              inputs   refused      read  seconds");
await Promise.all(Array.from({ length: availableParallelism() }, work));
console.log(`${total} inputs, ${nProblems} problems`);
process.exitCode = nProblems === 0 ? 0 : 1;

async function work(): Promise<void> {
  const fuzzer = new Fuzzer();
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const started = performance.now();
    const { refused, read, problems } = await fuzzer.fuzz({ target: name, seed, from: 0, to: inputs });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const columns = [refused + read, refused, read, seconds].map((value) => String(value).padStart(9));
    console.log(`${name.padEnd(33)}${columns.join(" ")}`);
    for (const problem of problems) console.log(`  ${problem.replaceAll("\n", "\n    ")}`);
    total += refused + read;
    nProblems += problems.length;
  }
  await fuzzer.close();
}
