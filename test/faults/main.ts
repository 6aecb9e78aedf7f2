/**
 * `npm run faults`: chains of failing file operations until there have been so many. Prints every fault and what came of
 * it; ends with exit code 1 if a run ended badly, or with other bits.
 *
 *   npm run faults -- [faults, default 400] [seed, default 1]
 */
import { campaign } from "./campaign.ts";
import { FAILURES } from "./faulty-files.ts";

const [total = 400, seed = 1] = process.argv.slice(2).map(Number);
const started = performance.now();
const report = await campaign({
  seed,
  failures: FAILURES,
  maxFaultsPerChain: 40,
  goesOn: (faults) => faults < total,
  onLog: (line) => console.log(line),
});
const minutes = ((performance.now() - started) / 60_000).toFixed(1);
console.log(
  `${report.faults} faults in ${report.chains} runs, ${minutes} min: ${report.problems.length} problems`,
);
for (const problem of report.problems) console.log(`\n${problem}`);
process.exitCode = report.problems.length === 0 ? 0 : 1;
