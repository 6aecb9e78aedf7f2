/** Each reader of untrusted files on a few hundred damaged ones; `npm run fuzz` tries many more. */
import { expect, it } from "vitest";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

it.each(TARGETS.map(({ name }) => name))("%s: damaged files are read or refused, quickly", async (name) => {
  const { refused, read, problems } = await fuzz(name, 2, 0, 300);
  expect(problems).toEqual([]);
  expect(refused + read).toBe(300);
  expect(refused).toBeGreaterThan(10);
});

/** Inputs that once ended otherwise. They are what they are by `mutate.ts` and the seeds: a change of these changes them. */
const REGRESSIONS: [name: string, seed: number, input: number, what: string][] = [
  ["window set", 1, 3, "a file of more windows than the manifest's room for them"],
  ["window set", 1, 213, "2^53 windows were allocated"],
  ["window set", 1, 311, "no list of files"],
  ["run.json", 1, 370, "units that are null"],
  ["run.json", 1, 739, "a unit that is null"],
  ["Parquet", 1, 75, "a rejection in the library that nobody handled ended the process"],
];

it.each(REGRESSIONS)("%s, seed %i, input %i: %s", async (name, seed, input) => {
  expect(await fuzz(name, seed, input, input + 1)).toEqual({ refused: 1, read: 0, problems: [] });
});
