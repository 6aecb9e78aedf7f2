/**
 * `npm run faults`: faults of every kind in every stage of a tiny run, seeded. Prints each and what came of it, and a
 * table; ends with exit code 1 if a run ended badly, with other bits, or did finished work again.
 *
 *   npm run faults -- [faults, default 150] [seed, default 1]
 *   npm run faults -- --every 10         every tenth file operation of a run in turn (--every 1: each one)
 *   npm run faults -- 60 2 --kinds kill,EIO
 *   npm run faults -- --json             the verdicts as one JSON text
 */
import { parseArgs } from "node:util";
import { campaign } from "./campaign.ts";
import { campaignTable, problemsOf } from "./table.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    every: { type: "string" },
    kinds: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [faults = 150, seed = 1] = positionals.map(Number);
const started = performance.now();
const report = await campaign({
  seed,
  plan: values.every === undefined ? { faults } : { every: Number(values.every) },
  kinds: values.kinds?.split(","),
  onVerdict: ({ kind, stage, told, outcome, problems }) => {
    const mark = problems.length === 0 ? outcome : "PROBLEM";
    if (!values.json) console.log([`${kind} in ${stage} ${told} — ${mark}`, ...problems].join("\n  "));
  },
});
const problems = problemsOf(report);
if (values.json) console.log(JSON.stringify({ ...report, problems }, null, 2));
else {
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  console.log(`\n${campaignTable(report)}`);
  console.log(`\n${report.verdicts.length} faults, ${minutes} min: ${problems.length} problems`);
  for (const problem of problems) console.log(`\n${problem}`);
}
process.exitCode = problems.length === 0 ? 0 : 1;
