import { expect, it } from "vitest";
import type { ResamplingNote } from "./progress.ts";
import { timesResampled } from "./resampled.ts";

const note = (step: number, newcomers: number, more: Partial<ResamplingNote> = {}): ResamplingNote => ({
  ...{ step, dead: newcomers, newcomers, ...more },
  predicted: { share: 0, cut: [null, null], ve: [null, null] },
});
const told = (step: number, newcomers: number, latents?: unknown) => ({
  ...{ event: "resampling", step, newcomers },
  ...(latents === undefined ? {} : { latents }),
});
const EVENTS = [told(10, 4, [0, [2, 4]]), { event: "newcomers", step: 12 }, told(20, 2, [4, 5])];
const NOTES = [note(10, 4), note(20, 2)];
const times = (steps: number, resamplings = NOTES, events: typeof EVENTS = EVENTS) =>
  timesResampled({ events, resamplings, steps, dSae: 6 });

it("counts a latent's resamplings", () => {
  expect([...times(30)!]).toEqual([1, 0, 1, 1, 2, 1]);
  expect([...times(30, [])!]).toEqual([0, 0, 0, 0, 0, 0]);
});

it("leaves out what the SAE that was kept had not seen: later ones, one at its checkpoint, one that was undone", () => {
  expect([...times(15)!]).toEqual([1, 0, 1, 1, 1, 0]);
  expect([...times(20)!]).toEqual([1, 0, 1, 1, 1, 0]);
  expect([...times(30, [note(10, 4), note(20, 2, { undone: true })])!]).toEqual([1, 0, 1, 1, 1, 0]);
});

it("does not know where an event names nobody, too few, or is not there", () => {
  expect(times(30, NOTES, [EVENTS[0], told(20, 2)])).toBeNull();
  expect(times(30, NOTES, [EVENTS[0], told(20, 2, [4])])).toBeNull();
  expect(times(30, NOTES, EVENTS.slice(0, 1))).toBeNull();
  expect([...times(30, [note(10, 0)], [])!]).toEqual([0, 0, 0, 0, 0, 0]);
});
