/** A short campaign of faults; `npm run faults` is the long one. */
import { readdir, readFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "../run/small-recipe.ts";
import { campaign } from "./campaign.ts";
import { PATCHED } from "./faulty-files.ts";
import { BETWEEN } from "./stage-clock.ts";
import { problemsOf } from "./table.ts";

it("whatever fails, a run says so in one line, and the same command then ends with the same bits", {
  timeout: 180_000,
}, async () => {
  const report = await campaign({ seed: 1, plan: { faults: 26 } });
  expect(problemsOf(report)).toEqual([]);
  expect(new Set(report.verdicts.map(({ kind }) => kind)).size).toBeGreaterThan(8);
  for (const stage of report.stages.filter((name) => name !== BETWEEN))
    expect(report.verdicts.map((verdict) => verdict.stage)).toContain(stage);
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
    const text = await readFile(join(ROOT, "src", file), "utf8");
    const [, names = ""] = /^import \{([^}]*)\} from "node:fs\/promises";/m.exec(text) ?? [];
    for (const name of names.split(",").map((part) => part.trim()))
      if (name !== "" && !name.startsWith("type ")) used.add(name);
    expect(`${file}: ${/import \* as \w+ from "node:fs|\bfrom "fs/.test(text)}`).toBe(`${file}: false`);
  }
  expect(used.size).toBeGreaterThan(8);
  expect([...used].filter((name) => name !== "open" && !(name in PATCHED))).toEqual([]);
});
