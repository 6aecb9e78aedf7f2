/**
 * Nothing lost: a run killed at random moments, each time followed by the same command, ends with the same bits as
 * the run that nobody disturbed: weights, moments, logs, results, card.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Philox } from "../../src/random/philox.ts";
import { contentsOf } from "./contents.ts";
import { cli, smallRun, startCli } from "./small-recipe.ts";

const KILLS = Number(process.env.LAPIDARY_KILLS ?? 4);

it(`ends with the same bits after kill -9 at ${KILLS} random moments`, { timeout: 600_000 }, async () => {
  const { folder, recipe } = await smallRun();
  const started = performance.now();
  const undisturbed = await cli(folder, "run", recipe, "--runs", "undisturbed");
  expect(undisturbed.stderr).not.toContain("lapidary:");
  expect(undisturbed.code).toBe(0);
  const wholeMs = performance.now() - started;

  const moments = new Philox(Number(process.env.LAPIDARY_SEED ?? 1), "kills");
  let landed = 0;
  let finishes = 0;
  for (let attempt = 0; landed < KILLS; attempt++) {
    const { child, finished } = startCli(folder, ["run", recipe, "--runs", `killed-${finishes}`]);
    const timer = setTimeout(() => child.kill("SIGKILL"), wholeMs * moments.uniform(attempt));
    const { code, stderr } = await finished;
    clearTimeout(timer);
    if (code === null) landed += 1;
    else {
      expect(stderr).not.toContain("lapidary:");
      expect(code).toBe(0);
      finishes += 1; // all of it survived: the next kills hit a fresh run
    }
  }
  const last = await cli(folder, "run", recipe, "--runs", `killed-${finishes}`);
  expect(last.stderr).not.toContain("lapidary:");
  expect(last.code).toBe(0);

  const expected = await contentsOf(join(folder, "undisturbed/small"), "small");
  for (let i = 0; i <= finishes; i++) {
    const found = await contentsOf(join(folder, `killed-${i}/small`), "small");
    expect([...found.keys()]).toEqual([...expected.keys()]);
    for (const [file, hash] of expected) expect(`${file} ${found.get(file)}`).toBe(`${file} ${hash}`);
  }
  await rm(folder, { recursive: true });
});
