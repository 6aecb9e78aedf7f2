import { describe, expect, it } from "vitest";
import { latentsIn, rangesOf } from "./latent-ranges.ts";

describe("latent ranges", () => {
  it.each([
    [[], []],
    [[7], [7]],
    [
      [0, 1, 3],
      [0, 1, 3],
    ],
    [
      [0, 1, 2, 9, 10, 11, 12, 15],
      [[0, 2], [9, 12], 15],
    ],
  ])("%j is written %j, and read back", (latents, ranges) => {
    expect(rangesOf(latents)).toEqual(ranges);
    expect(latentsIn(ranges, 16)).toEqual(latents);
  });

  it.each([
    [undefined, "nothing"],
    [5, "no list"],
    [[3, 3], "twice"],
    [[[4, 2]], "backwards"],
    [[16], "beyond the SAE"],
    [[[0, 1e9]], "far beyond the SAE"],
    [[-1], "below 0"],
    [["1"], "a text"],
    [[[1, 2, 3]], "a triple"],
  ])("%j is not read: %s", (ranges, _) => expect(latentsIn(ranges, 16)).toBeNull());
});
