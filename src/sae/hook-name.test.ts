/** Spellings of one place agree, different places do not, and nothing is guessed. */
import { describe, expect, it } from "vitest";
import { canonicalHookName, parseHookName, residualLayer, sameHook } from "./hook-name.ts";

describe("hook names", () => {
  it("knows the spellings of a layer's output", () => {
    for (const name of [
      "model.layers.4",
      "model.language_model.layers.4",
      "layers.4",
      "language_model.model.layers.4",
      "transformer.h.4",
      "4",
      "blocks.5.hook_resid_pre",
      " blocks.4.hook_resid_post ",
    ]) {
      expect(sameHook(name, "blocks.4.hook_resid_post"), name).toBe(true);
      expect(residualLayer(parseHookName(name)), name).toBe(4);
    }
    expect(parseHookName("model.layers.35")).toEqual({ layer: 35, site: "resid_post" });
    expect(canonicalHookName(7)).toBe("blocks.7.hook_resid_post");
  });

  it("tells other places apart", () => {
    for (const name of [
      "blocks.4.hook_mlp_out",
      "blocks.4.hook_resid_pre",
      "blocks.4.hook_resid_mid",
      "blocks.4.attn.hook_z",
      "blocks.14.hook_resid_post",
      "model.layers.4.mlp",
      "blocks.0.hook_resid_pre",
    ])
      expect(sameHook(name, "model.layers.4"), name).toBe(false);
    expect(parseHookName("blocks.4.attn.hook_z")).toEqual({ layer: 4, site: "attn.hook_z" });
    expect(residualLayer(parseHookName("blocks.0.hook_resid_pre"))).toBeNull();
    expect(residualLayer(parseHookName("blocks.3.hook_mlp_out"))).toBeNull();
  });

  it("refuses what it cannot read, with examples", () => {
    for (const name of [
      "",
      "residual",
      "blocks.x.hook_resid_post",
      "layers.4.5",
      "a".repeat(300),
      "blocks.-1.hook_z",
      "1.5",
    ]) {
      expect(() => parseHookName(name), name).toThrow(/cannot tell which layer/);
    }
    try {
      parseHookName("nowhere");
    } catch (error) {
      expect(error).toHaveProperty("hint", expect.stringContaining("blocks.4.hook_resid_post"));
    }
  });
});
