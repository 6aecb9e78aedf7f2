/** The memory of an evaluation, by hand at the size that figures are quoted at. */
import { expect, it } from "vitest";
import { evaluationMemory } from "./memory.ts";

const MB = 1e6;

it("counts chunks, documents and tokens: 262 144 tokens at reference width stay below 350 MB", () => {
  const chunk = 2048 * 2560 * 4;
  const documents = 8192 * 2560 * 8;
  const needed = evaluationMemory(2560, 262_144);
  expect(needed).toBeGreaterThan(6 * chunk + documents + 33 * 262_144);
  expect(needed).toBeLessThan(350 * MB);
});

it("grows with tokens by what is kept of each, once documents share blocks", () => {
  expect(evaluationMemory(2560, 2_000_000) - evaluationMemory(2560, 1_000_000)).toBe(33 * 1_000_000);
});
