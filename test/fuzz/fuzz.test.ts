/** Each reader of untrusted files on some damaged ones; `npm run fuzz` tries many more. */
import { afterAll, expect, it } from "vitest";
import { Fuzzer } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const INPUTS = 150;

const fuzzer = new Fuzzer();
afterAll(() => fuzzer.close());

it.each(TARGETS.map(({ name }) => name))("%s: damaged files are read or refused, quickly", async (name) => {
  const { refused, read, problems } = await fuzzer.fuzz({ target: name, seed: 2, from: 0, to: INPUTS });
  expect(problems).toEqual([]);
  expect(refused + read).toBe(INPUTS);
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
  const counts = await fuzzer.fuzz({ target: name, seed, from: input, to: input + 1 });
  expect(counts).toEqual({ refused: 1, read: 0, problems: [] });
});
