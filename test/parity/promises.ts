/** What every engine with moments of its own promises, whoever computes. */
import { expect, it } from "vitest";
import type { EngineFactory } from "../../src/kernels/kernels.ts";
import { batchFor, cases, hashOf, stepOptions, weightsFor } from "./cases.ts";

/** Declares the test. */
export function survivesLossesThatAreNotFinite(create: EngineFactory): void {
  it("leaves every weight and moment as it was when the loss is not finite", async () => {
    const c = cases[0];
    const engine = await create(c.config, weightsFor(c.config));
    await engine.trainStep(batchFor(c), stepOptions(c.k, 0));
    const before = await hashOf(engine);
    for (const poison of [Number.NaN, Number.POSITIVE_INFINITY, 1e30]) {
      const x = batchFor(c);
      x[17] = poison;
      const { loss } = await engine.trainStep(x, stepOptions(c.k, 1));
      expect(Number.isFinite(loss)).toBe(false);
      expect(await hashOf(engine)).toBe(before);
    }
    await engine.dispose();
  });
}
