/** Greedy takes the largest; drawn tokens come as often as softmax says, and the same again with the same seed. */
import { describe, expect, it } from "vitest";
import { Philox } from "../../random/philox.ts";
import { nextToken } from "./sampling.ts";

const random = new Philox(5, "steer");
const greedy = { temperature: 0, topK: null, seed: 5 };
const ln = (...p: number[]) => Float32Array.from(p, Math.log);

describe("nextToken", () => {
  it("greedy: the largest, of equal ones the lowest id", () => {
    expect(nextToken(Float32Array.of(1, 3, 2), greedy, random, 0)).toBe(1);
    expect(nextToken(Float32Array.of(1, 3, 3), greedy, random, 0)).toBe(1);
  });

  it("draws by softmax, and alike for one seed and step", () => {
    const logits = ln(0.1, 0.6, 0.3);
    const sampling = { temperature: 1, topK: null, seed: 5 };
    const draw = (n: number) =>
      Array.from({ length: n }, (_, step) => nextToken(logits, sampling, random, step));
    const counts = [0, 0, 0];
    for (const id of draw(20_000)) counts[id] += 1;
    [0.1, 0.6, 0.3].forEach((p, id) => {
      expect(counts[id] / 20_000).toBeCloseTo(p, 1.7);
    });
    expect(draw(50)).toEqual(draw(50));
  });

  it("temperature sharpens, topK cuts off", () => {
    const logits = ln(0.25, 0.5, 0.25);
    const share = (temperature: number, topK: number | null) => {
      let n = 0;
      for (let step = 0; step < 4000; step++)
        n += nextToken(logits, { temperature, topK, seed: 5 }, random, step) === 1 ? 1 : 0;
      return n / 4000;
    };
    expect(share(0.5, null)).toBeCloseTo(0.25 / (0.25 + 2 * 0.0625), 1.4);
    expect(share(1, 1)).toBe(1);
    expect(share(1, 2)).toBeCloseTo(2 / 3, 1.4); // of the equal ones the lowest id stays
    expect(nextToken(logits, { temperature: 1e-9, topK: null, seed: 5 }, random, 0)).toBe(1);
  });

  it("refuses logits that are no numbers", () => {
    expect(() => nextToken(Float32Array.of(0, Number.NaN), greedy, random, 0)).toThrow(
      /not finite \(token 1\)/,
    );
  });
});
