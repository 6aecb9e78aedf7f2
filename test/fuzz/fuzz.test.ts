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
