/** Many chains of faults on one recipe, seeded: the work behind `npm run faults` and the short test. */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Philox } from "../../src/random/philox.ts";
import { contentsOf } from "../run/contents.ts";
import { chain } from "./chain.ts";
import type { Answer } from "./child.ts";
import type { Failure } from "./faulty-files.ts";
import { FaultyRuns } from "./faulty-run.ts";
import { LEFT_OUT, tinyRun } from "./tiny-run.ts";

export interface Campaign {
  readonly seed: number;
  readonly failures: readonly Failure[];
  readonly maxFaultsPerChain: number;
  /** another chain after this many faults and milliseconds so far? */
  readonly goesOn: (faults: number, milliseconds: number) => boolean;
  readonly onLog?: (line: string) => void;
}

export interface CampaignReport {
  readonly chains: number;
  readonly faults: number;
  readonly problems: readonly string[];
}

export async function campaign(options: Campaign): Promise<CampaignReport> {
  const { folder, recipe } = await tinyRun();
  const runs = new FaultyRuns(join(folder, "runs"));
  const started = performance.now();
  const problems: string[] = [];
  let chains = 0;
  let faults = 0;
  try {
    const args = (name: string) => ["run", recipe, "--set", `name=${name}`];
    const first = [...args("begun"), "--only", "corpus,harvest,before"];
    wellDone(await runs.run({ folder, args: first, fault: null }));
    await cp(join(folder, "runs/begun"), join(folder, "runs/undisturbed"), { recursive: true });
    const { counts: all } = wellDone(await runs.run({ folder, args: args("undisturbed"), fault: null }));
    const counts = new Map(options.failures.map((failure) => [failure, all[failure]]));
    const expected = await contentsOf(join(folder, "runs/undisturbed"), "undisturbed", LEFT_OUT);
    for (; options.goesOn(faults, performance.now() - started); chains++) {
      const name = `chain-${chains}`;
      const random = new Philox(options.seed, `faults/${options.failures.join()}/${chains}`);
      const { maxFaultsPerChain: maxFaults } = options;
      // three of four begin where the slow first stages are done
      if (chains % 4 !== 0)
        await cp(join(folder, "runs/begun"), join(folder, "runs", name), { recursive: true });
      const done = await chain({ runs, folder, recipe, name, expected, counts, random, maxFaults });
      faults += done.faults;
      problems.push(...done.problems);
      for (const line of done.log) options.onLog?.(line);
      await rm(join(folder, "runs", name), { recursive: true, force: true });
    }
  } finally {
    runs.close();
    await rm(folder, { recursive: true, force: true });
  }
  return { chains, faults, problems };
}

function wellDone(answer: Answer | "killed"): Answer {
  if (answer === "killed" || answer.code !== 0) throw new Error(answer === "killed" ? answer : answer.stderr);
  return answer;
}
