/** Draws of latents and of controls: fair, spread out, and a function of the seed. */
import { describe, expect, it } from "vitest";
import { controlFor } from "./controls.ts";
import type { LatentFacts } from "./index-reader.ts";
import { sampleLatents } from "./sampling.ts";

const facts = Array.from(
  { length: 300 },
  (_, latent): LatentFacts => ({
    latent,
    level: latent < 100 ? 0 : 1,
    nActive: latent % 3 === 0 ? 0 : 1 + latent,
    density: ((latent * 37) % 300) / 300,
    maxAct: 1,
    label: "",
    labelKind: "none",
  }),
);

describe("sampleLatents", () => {
  it("spreads over levels and densities, leaves out what never fires", () => {
    const chosen = sampleLatents(facts, 20, 0, "p");
    expect(chosen).toHaveLength(20);
    expect(new Set(chosen).size).toBe(20);
    expect(chosen.every((latent) => latent % 3 !== 0)).toBe(true);
    const low = chosen.filter((latent) => latent < 100);
    expect(Math.abs(low.length - 20 / 3)).toBeLessThan(1.01);
    expect(low.filter((latent) => facts[latent].density < 0.5).length).toBeGreaterThan(1);
    expect(sampleLatents(facts, 20, 0, "p")).toEqual(chosen);
    expect(sampleLatents(facts, 20, 1, "p")).not.toEqual(chosen);
  });

  it("takes every latent as often as another", () => {
    const counts = new Map<number, number>();
    for (let seed = 0; seed < 1000; seed++)
      for (const latent of sampleLatents(facts, 20, seed, "p"))
        counts.set(latent, (counts.get(latent) ?? 0) + 1);
    expect(counts.size).toBe(200);
    for (const n of counts.values()) expect(Math.abs(n - 100)).toBeLessThan(50); // five standard deviations
  });

  it("takes all of them if there are not more", () => {
    expect(sampleLatents(facts, 500, 0, "p")).toHaveLength(200);
    expect(sampleLatents([], 5, 0, "p")).toEqual([]);
  });
});

describe("controlFor", () => {
  const explanations = new Map([
    [1, "a"],
    [2, "b"],
    [3, "a"],
    [4, "c"],
    [5, "d"],
  ]);
  it("draws another latent's, neither near nor with the same text", () => {
    const drawn = new Set<number | null>();
    for (let seed = 0; seed < 100; seed++) drawn.add(controlFor(1, explanations, [4], seed));
    expect([...drawn].sort()).toEqual([2, 5]);
    expect(controlFor(1, explanations, [], 7)).toBe(controlFor(1, explanations, [], 7));
  });
  it("is null where there is none", () => {
    expect(
      controlFor(
        1,
        new Map([
          [1, "a"],
          [3, "a"],
        ]),
        [],
        0,
      ),
    ).toBeNull();
    expect(
      controlFor(
        1,
        new Map([
          [1, "a"],
          [2, "b"],
        ]),
        [2],
        0,
      ),
    ).toBeNull();
  });
});
