/** Learning rates and coefficients of the real schedulers, bit for bit, steps beyond the end included. */
import { describe, expect, it } from "vitest";
import type { ScheduleConfig, ScheduleName } from "../../src/train/config.ts";
import { coefficientAt, learningRateAt } from "../../src/train/schedule.ts";
import { countAbsent, scheduleFiles } from "./cases.ts";

const files = scheduleFiles();

describe("schedules of SAELens", () => {
  countAbsent("schedules", files);
  for (const { name: folder, schedules } of files) {
    for (const [i, golden] of schedules.lr.entries()) {
      const { name, training_steps, warm_up_steps, decay_steps, lr, lr_end, num_cycles } = golden;
      it(`${folder} ${i}: ${name}, ${warm_up_steps} + … + ${decay_steps} of ${training_steps} steps`, () => {
        const config: ScheduleConfig = {
          name: name as ScheduleName,
          lr,
          lrEnd: lr_end,
          warmUpSteps: warm_up_steps,
          decaySteps: decay_steps,
          nCycles: num_cycles,
        };
        expect(golden.lr_used_by_step.map((_, step) => learningRateAt(config, training_steps, step))).toEqual(
          golden.lr_used_by_step,
        );
      });
    }
    for (const { warm_up_steps, final_value, value_used_by_step } of schedules.coefficient)
      it(`${folder}: coefficient ${final_value} after ${warm_up_steps} steps`, () => {
        expect(value_used_by_step.map((_, step) => coefficientAt(final_value, warm_up_steps, step))).toEqual(
          value_used_by_step,
        );
      });
  }
});
