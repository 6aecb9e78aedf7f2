/** What is typed and steered: in addresses and back, completed or not, and how two texts grow from events. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LiveInput, SteerEvent } from "../../../../src/dashboard/live.ts";
import { href, parseRoute } from "../../routes.ts";
import { overall } from "./encoded-text.tsx";
import { isEmpty, readInput, writeInput } from "./input.ts";
import { completed, type Draft, KINDS, readDrafts, writeDrafts } from "./interventions.ts";
import { after, NOTHING } from "./use-steering.ts";

const text = fc.string({ unit: "grapheme" });
const someInput: fc.Arbitrary<LiveInput> = fc.oneof(
  text.map((value): LiveInput => ({ kind: "text", text: value })),
  fc
    .array(fc.record({ role: fc.constantFrom("system", "user", "assistant"), content: text }), {
      minLength: 1,
    })
    .map((messages): LiveInput => ({ kind: "chat", messages })),
);

describe("typed input", () => {
  it("comes back from its address", () => {
    fc.assert(
      fc.property(
        someInput.filter((input) => !isEmpty(input)),
        (input) => {
          const route = parseRoute(href("try", ["a"], writeInput(input)));
          expect(readInput(route?.query ?? new URLSearchParams())).toEqual(input);
        },
      ),
    );
  });

  it("that is no input is none", () => {
    for (const chat of ["", "{", "[]", "7", '[["root","x"]]', "[[1,2]]"])
      expect(readInput(new URLSearchParams({ chat })), chat).toBeNull();
  });
});

describe("interventions", () => {
  const draft: fc.Arbitrary<Draft> = fc.record({
    latent: fc.option(fc.nat(1000)),
    kind: fc.constantFrom(...KINDS),
    value: fc.option(fc.integer({ min: -50, max: 50 })),
  });

  it("come back from their address, as they were typed", () => {
    fc.assert(
      fc.property(fc.array(draft), (drafts) => {
        const kept = drafts.map((one) => (one.kind === "ablate" ? { ...one, value: null } : one));
        expect(readDrafts(writeDrafts(drafts))).toEqual(kept);
      }),
    );
  });

  it("are sent once nothing is missing", () => {
    const add: Draft = { kind: "add", latent: 3, value: 2.5 };
    expect(completed([add, { kind: "ablate", latent: 4, value: 9 }], 10)).toEqual([
      { kind: "add", latent: 3, value: 2.5 },
      { kind: "ablate", latent: 4 },
    ]);
    for (const missing of [
      { ...add, value: null },
      { ...add, latent: null },
      { ...add, latent: 10 },
    ])
      expect(completed([add, missing], 10)).toBeNull();
  });
});

it("two texts grow from their events, and end for their reasons", () => {
  const events: SteerEvent[] = [
    { kind: "token", side: "plain", id: 1, text: " a" },
    { kind: "token", side: "steered", id: 2, text: "" },
    { kind: "token", side: "steered", id: 3, text: " b" },
    { kind: "end", side: "plain", why: "stop", text: "" },
    { kind: "end", side: "steered", why: "length", text: "⟨0xF0⟩" },
    { kind: "done", seconds: 2, nForwards: 3 },
  ];
  expect(events.reduce(after, { ...NOTHING, phase: "running" })).toEqual({
    phase: "done",
    plain: { tokens: [" a"], rest: "", why: "stop" },
    steered: { tokens: ["", " b"], rest: "⟨0xF0⟩", why: "length" },
    seconds: 2,
    nForwards: 3,
    error: null,
  });
});

it("the latents of a text: largest activation and number of tokens, the strongest first", () => {
  const token = (latents: number[], acts: number[]) => ({
    id: 0,
    text: "",
    role: "",
    kept: true,
    latents,
    acts,
    squaredNorm: 1,
    squaredError: 0,
  });
  expect(overall([token([5, 2], [3, 1]), token([], []), token([2, 9], [4, 3])])).toEqual([
    { latent: 2, most: 4, nTokens: 2 },
    { latent: 5, most: 3, nTokens: 1 },
    { latent: 9, most: 3, nTokens: 1 },
  ]);
});
