import { describe, expect, it } from "vitest";
import { DeadLatents } from "./dead-latents.ts";

describe("DeadLatents", () => {
  it("counts tokens, and calls dead what has not fired for strictly more than the limit", () => {
    const latents = new DeadLatents(3, 20);
    latents.observe(new Uint32Array([1, 0, 0]), 10);
    latents.observe(new Uint32Array([0, 0, 5]), 10);
    expect([...latents.tokensSinceFired]).toEqual([10, 20, 0]);
    expect(latents.count).toBe(0);
    latents.observe(new Uint32Array([0, 0, 0]), 1);
    expect([...latents.mask]).toEqual([0, 1, 0]);
    expect(latents.count).toBe(1);
  });

  it("brings a latent back when it fires or is restarted", () => {
    const latents = new DeadLatents(3, 5);
    latents.observe(new Uint32Array(3), 6);
    expect(latents.count).toBe(3);
    latents.restart([1]);
    expect([...latents.mask]).toEqual([1, 0, 1]);
    expect(latents.count).toBe(2);
    latents.observe(new Uint32Array([2, 0, 0]), 6);
    expect([...latents.tokensSinceFired]).toEqual([0, 6, 12]);
    expect([...latents.mask]).toEqual([0, 1, 1]);
  });

  it("restores counters, mask and count; refuses another number of latents", () => {
    const latents = new DeadLatents(3, 5);
    latents.restore(new Float64Array([6, 5, 2 ** 40]));
    expect([...latents.mask]).toEqual([1, 0, 1]);
    expect(latents.count).toBe(2);
    expect(() => latents.restore(new Float64Array(2))).toThrow(/got 2, expected 3/);
    expect(() => latents.observe(new Uint32Array(4), 1)).toThrow(/got 4, expected 3/);
  });
});
