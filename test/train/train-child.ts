/** A training run in a process of its own, for `kill.test.ts`: argument 1 is its folder; prints a line a step. */
import { train } from "../../src/train/trainer.ts";
import { tinyRun } from "./fixtures.ts";

await train(tinyRun(process.argv[2], { onProgress: ({ step }) => console.log(step) }));
console.log("done");
