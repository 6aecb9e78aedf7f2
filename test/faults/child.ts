/**
 * Runs the command line over and over in one process whose files and memory fail. One line of JSON on stdin is one run:
 * arguments and a fault, or none; one line of JSON on stdout answers it. The parent watches for hangs.
 *
 *   child.ts <folder of the runs> <disk, or ""> <folders of inputs …>
 */
import { sep } from "node:path";
import { chdir } from "node:process";
import { createInterface } from "node:readline";
import type { Counts, Fault, Struck } from "./failures.ts";
import { FaultyFiles } from "./faulty-files.ts";
import { patchAllocations } from "./faulty-memory.ts";
import { Killer } from "./killer.ts";
import { StageClock } from "./stage-clock.ts";

export interface Job {
  readonly folder: string;
  readonly args: readonly string[];
  readonly fault: Fault | null;
}

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly struck: Struck | null;
  /** operations of this run that a failure could have befallen, by stage */
  readonly counts: Readonly<Record<string, Counts>>;
  /** time spent in each stage */
  readonly seconds: Readonly<Record<string, number>>;
  /** rejections that nobody handled, thrown errors that nobody caught */
  readonly unhandled: readonly string[];
}

const unhandled: string[] = [];
for (const event of ["unhandledRejection", "uncaughtException"])
  process.on(event, (error) => unhandled.push(String((error as Error)?.stack ?? error)));

const [runs, disk, ...inputs] = process.argv.slice(2);
const roots = disk === "" ? [runs] : [runs, disk];
const within = (folder: string, path: string) => path.startsWith(folder + sep);

let fault: Fault | null = null;
let killer: Killer | null = null;
const clock = new StageClock((stage) => {
  if (fault?.failure === "kill" && stage === fault.stage) killer?.killIn(fault.n);
});
const files = new FaultyFiles(
  {
    isTarget: (path) => [...roots, ...inputs].some((folder) => within(folder, path)),
    runOf(path) {
      const root = roots.find((folder) => within(folder, path));
      return root && root + sep + path.slice(root.length + 1).split(sep)[0];
    },
    disk: disk === "" ? null : disk,
  },
  clock,
);

let allocations: Record<string, number> = {};
let unavailable: Struck | null = null;
patchAllocations(() => {
  const { stage } = clock;
  const n = allocations[stage] ?? 0;
  allocations[stage] = n + 1;
  if (fault?.failure !== "allocation" || fault.stage !== stage || fault.n !== n) return true;
  unavailable = { operation: "allocation", path: "", stage };
  return false;
});

const { runCommandLine } = await import("../../src/cli/program.ts");
const answer = process.stdout.write.bind(process.stdout);

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line) as Job;
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    process[name].write = (text: string | Uint8Array) => {
      printed[name] += typeof text === "string" ? text : new TextDecoder().decode(text);
      return true;
    };
  chdir(job.folder);
  if (job.fault?.failure === "kill") killer ??= await Killer.start();
  files.arm(job.fault);
  allocations = {};
  unavailable = null;
  fault = job.fault;
  clock.start();
  const code = await runCommandLine(job.args);
  clock.stop();
  fault = null;
  killer?.callOff();
  const struck = files.disarm() ?? unavailable;
  await new Promise((done) => setImmediate(done)); // what nobody handled shows now
  const counts = Object.fromEntries(
    Object.entries(files.counts).map(([stage, kinds]) => [
      stage,
      { ...kinds, allocation: allocations[stage] ?? 0 },
    ]),
  );
  const { seconds } = clock;
  answer(
    `${JSON.stringify({ code, ...printed, struck, counts, seconds, unhandled: unhandled.splice(0) } satisfies Answer)}\n`,
  );
}
process.exit(0);
