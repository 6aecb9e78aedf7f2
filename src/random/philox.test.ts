import { describe, expect, it } from "vitest";
import { Philox, philox4x32 } from "./philox.ts";

describe("Philox", () => {
  it("reproduces the known answers of the Random123 distribution (kat_vectors)", () => {
    const out = new Uint32Array(4);
    const hex = (x: Uint32Array) => [...x].map((v) => v.toString(16).padStart(8, "0")).join(" ");
    expect(hex(philox4x32([0, 0, 0, 0], [0, 0], out))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
    const ones = 0xffffffff;
    expect(hex(philox4x32([ones, ones, ones, ones], [ones, ones], out))).toBe(
      "408f276d 41c83b0e a20bc7c6 6d5451fd",
    );
    expect(
      hex(philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], out)),
    ).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
  });

  it("gives a number by index alone, whatever was asked before", () => {
    const a = new Philox(7, "test");
    const forward = Array.from({ length: 20 }, (_, i) => a.uniform(i));
    const b = new Philox(7, "test");
    for (let i = 19; i >= 0; i--) expect(b.uniform(i)).toBe(forward[i]);
    expect(new Philox(7, "other").uniform(0)).not.toBe(forward[0]);
    expect(new Philox(8, "test").uniform(0)).not.toBe(forward[0]);
  });

  it("permutes: every index once", () => {
    const p = new Philox(1, "permutation").permutation(1000);
    expect([...p].sort((x, y) => x - y)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(p[0] === 0 && p[1] === 1 && p[2] === 2).toBe(false);
  });

  it("has the mean and variance of a standard normal", () => {
    const r = new Philox(3, "normal");
    let sum = 0;
    let square = 0;
    const n = 20_000;
    for (let i = 0; i < n; i++) {
      const z = r.normal(i);
      sum += z;
      square += z * z;
    }
    expect(Math.abs(sum / n)).toBeLessThan(0.03);
    expect(Math.abs(square / n - 1)).toBeLessThan(0.04);
  });
});
