/** A short campaign of faults; `npm run faults` is the long one. */
import { readdir, readFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../run/small-recipe.ts";
import { campaign } from "./campaign.ts";
import { FILE_FAILURES } from "./failures.ts";
import { PATCHED } from "./faulty-files.ts";
import { problemsOf } from "./table.ts";

/** Those that need no process of their own; kills have a test beside the command line's. */
const QUICK = Object.keys(FILE_FAILURES)
  .filter((name) => name !== "power-cut")
  .concat("allocation", "cut short", "bit flip", "file-size limit", "lock");

it("whatever fails, a run says so in one line, and the same command then ends with the same bits", {
  timeout: 400_000,
}, async () => {
  const report = await campaign({ seed: 1, plan: { faults: QUICK.length }, kinds: QUICK });
  expect(problemsOf(report)).toEqual([]);
  expect(report.verdicts.length).toBeGreaterThanOrEqual(QUICK.length);
  const tried = report.verdicts.map(({ kind }) => kind);
  const left = QUICK.filter((kind) => !tried.includes(kind));
  expect(left.length).toBeLessThan(5); // disks that cannot be mounted, and what did not strike
});

it("every function that opens, writes, names or looks at files of a run can be made to fail", async () => {
  const rooms = [
    "activations",
    "corpus",
    "evals",
    "formats",
    "harvest",
    "pipeline",
    "sae",
    "storage",
    "train",
  ];
  const used = new Set<string>();
  for (const file of (await readdir(join(ROOT, "src"), { recursive: true })).filter((name) =>
    name.endsWith(".ts"),
  )) {
    if (!rooms.includes(file.split(sep)[0]) || file.endsWith(".test.ts")) continue;
    if (file.startsWith(join("pipeline", "publishing"))) continue; // is no stage; makes its files in a folder of the system's
    const text = await readFile(join(ROOT, "src", file), "utf8");
    const [, names = ""] = /^import \{([^}]*)\} from "node:fs\/promises";/m.exec(text) ?? [];
    for (const name of names.split(",").map((part) => part.trim()))
      if (name !== "" && !name.startsWith("type ")) used.add(name);
    expect(`${file}: ${/import \* as \w+ from "node:fs|\bfrom "fs/.test(text)}`).toBe(`${file}: false`);
  }
  expect(used.size).toBeGreaterThan(8);
  expect([...used].filter((name) => name !== "open" && !(name in PATCHED))).toEqual([]);
});
