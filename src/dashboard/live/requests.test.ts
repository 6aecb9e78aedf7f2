/** Only what the contract says gets through. */
import { describe, expect, it } from "vitest";
import { MAX_CHARACTERS, parseEncodeRequest, parseSteerRequest } from "./requests.ts";

const steer = {
  index: "layer-4",
  input: { kind: "chat", messages: [{ role: "user", content: "hi" }] },
  interventions: [
    { latent: 3, kind: "add", value: -2.5 },
    { latent: 4, kind: "ablate" },
  ],
  positions: "all",
  nTokens: 5,
  sampling: { temperature: 0, topK: null, seed: 0 },
};

describe("requests", () => {
  it("as the contract has them pass unchanged", () => {
    expect(parseSteerRequest(steer)).toEqual(steer);
    const encode = { index: "a", input: { kind: "text", text: "x".repeat(MAX_CHARACTERS) } };
    expect(parseEncodeRequest(encode)).toEqual(encode);
  });

  it.each([
    ["text too long", { input: { kind: "text", text: "x".repeat(MAX_CHARACTERS + 1) } }, /more than 32768/],
    ["no text", { input: { kind: "text", text: "" } }, /input\.text/],
    ["another role", { input: { kind: "chat", messages: [{ role: "tool", content: "" }] } }, /role/],
    ["no messages", { input: { kind: "chat", messages: [] } }, /messages/],
    ["no value", { interventions: [{ latent: 1, kind: "add" }] }, /value/],
    ["a value for ablate", { interventions: [{ latent: 1, kind: "ablate", value: 1 }] }, /value/],
    ["half a latent", { interventions: [{ latent: 0.5, kind: "ablate" }] }, /latent/],
    ["a value that is none", { interventions: [{ latent: 1, kind: "add", value: Number.NaN }] }, /value/],
    ["too many interventions", { interventions: Array(65).fill({ latent: 1, kind: "ablate" }) }, /interv/],
    ["too many tokens", { nTokens: 257 }, /nTokens/],
    ["negative temperature", { sampling: { temperature: -1, topK: null, seed: 0 } }, /temperature/],
    ["topK of 0", { sampling: { temperature: 1, topK: 0, seed: 0 } }, /topK/],
    ["half a seed", { sampling: { temperature: 1, topK: 1, seed: 0.5 } }, /seed/],
    ["another key", { folder: "/" }, /folder/],
  ])("%s is refused", (_name, change, message) => {
    expect(() => parseSteerRequest({ ...steer, ...change })).toThrow(message);
  });

  it.each([null, 3, [], "{}"])("%j is no request", (body) => {
    expect(() => parseEncodeRequest(body)).toThrow(/not understood/);
  });
});
