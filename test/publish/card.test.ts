/** Cards of many kinds: Markdown that a linter passes, links that lead to published files, and nothing that was not measured. */
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { cardHeader } from "../../src/hub/card-header.ts";
import { renderCard } from "../../src/publish/card/card.ts";
import type { CardFacts } from "../../src/publish/card/facts.ts";
import { brokenLinks, linksOf, markdownProblems } from "../markdown.ts";
import { barestFacts, madeUpFacts, madeUpLayer } from "./made-up-facts.ts";

const learnt = (architecture: string) =>
  madeUpFacts({
    source: null,
    baseModel: null,
    layers: [
      madeUpLayer(7, {
        architecture: architecture === "standard" ? "standard" : "jumprelu",
        k: null,
        threshold: null,
        calibration: null,
        trainedAs: architecture,
        learntRule: { architecture, sparsityCoefficient: 0.5 },
      }),
    ],
  });

const guarded = {
  kind: "guard-rollback",
  step: 120,
  what: "held-out VE fell by 0.02: back to step 100",
  details: {},
};
const KINDS: Record<string, CardFacts> = {
  full: madeUpFacts(),
  barest: barestFacts(),
  "not published, no links": madeUpFacts({ publication: null, links: [] }),
  "with incidents": madeUpFacts({
    layers: [
      madeUpLayer(7, {
        incidents: [
          guarded,
          { ...guarded, kind: "other-bits", what: "went on\nin another numeric class" },
        ] as never,
        audit: { entries: 10_000, missed: 3 },
      }),
    ],
  }),
  polished: madeUpFacts({ layers: [madeUpLayer(7, { beforePolish: { prose: 0.79, chat: null } })] }),
  "below its gate": madeUpFacts({
    gate: 0.9,
    layers: [7, 21].map((layer) => madeUpLayer(layer, { belowGate: true })),
  }),
  standard: learnt("standard"),
  gated: learnt("gated"),
  jumprelu: learnt("jumprelu"),
  "another licence": madeUpFacts({ license: "Gemma Terms: of use", sourceLicense: { declared: "gemma" } }),
  "names that look like Markdown": madeUpFacts({
    title: "a [b](javascript:c) <img src=x> `d` # e | f\n## g",
    model: "x`|\n## y",
    source: "](z)",
    definitions: { ve: "Variance explained.", l0: "Mean number." },
  }),
};

describe.each(Object.keys(KINDS))("%s", (kind) => {
  const facts = KINDS[kind];
  const card = renderCard(facts);

  it("is Markdown that a linter passes", async () => {
    expect(await markdownProblems(card)).toEqual([]);
  });

  it("links to published files alone, and to addresses that are well formed", () => {
    expect(brokenLinks(card, (path) => facts.files.includes(path))).toEqual([]);
    expect(linksOf(card)).toContain("report/index.html");
    for (const { url } of facts.links) expect(linksOf(card)).toContain(url);
  });

  it("has a header that the hub understands, and each heading once", () => {
    const front = /^---\n([\s\S]*?)\n---\n/.exec(card)![1];
    expect(parse(front)).toEqual(cardHeader(card));
    expect(cardHeader(card)).toMatchObject({
      library_name: "saelens",
      tags: expect.arrayContaining(["saelens"]),
    });
    const headings = [...card.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual([...new Set(headings)]);
    expect(headings.every((heading) => !/[[\]<>]/.test(heading))).toBe(true);
  });
});

it("the header names model, data and licence as the hub spells them", () => {
  expect(cardHeader(renderCard(KINDS.full))).toEqual({
    license: "apache-2.0",
    library_name: "saelens",
    base_model: ["onnx-community/gemma-4-E4B-it-ONNX"],
    datasets: ["HuggingFaceTB/smollm-corpus", "HuggingFaceTB/smoltalk"],
    tags: expect.any(Array),
  });
  expect(cardHeader(renderCard(KINDS["another licence"]))).toMatchObject({
    license: "other",
    license_name: "gemma-terms-of-use",
  });
  expect(renderCard(KINDS["another licence"])).toContain("**Licence of these SAEs**: `Gemma Terms: of use`.");
  const bare = cardHeader(renderCard(KINDS.barest));
  expect(Object.keys(bare)).toEqual(["library_name", "tags"]);
});

it("sections stand only where something was measured, and the limitations say what was not", () => {
  const full = renderCard(KINDS.full);
  const bare = renderCard(KINDS.barest);
  for (const heading of ["Verification"]) {
    expect(full).toContain(`## ${heading}\n`);
    expect(bare).not.toContain(`## ${heading}\n`);
  }
  expect(full).not.toContain("## Predictions with the SAEs spliced in");
  expect(full).toContain("- What the SAEs do to the model's predictions was not measured.");
  expect(bare).toMatch(/is not known to this run/);
  expect(bare).toMatch(/Not re-verified after saving: layers 3/);
  expect(bare).toMatch(/Dead latents in training's sense are not known for layers 3/);
  expect(bare).toMatch(/the guard, which looks at held-out rows while training, was off/);
  expect(bare).not.toMatch(/from_pretrained|base_model|Gate:/);
  expect(full).toMatch(/Its repository declares no licence\./);
  expect(renderCard(madeUpFacts({ sourceLicense: null }))).toMatch(/was not looked up/);
});

it("tells what went wrong, what was left out, and how it ended", () => {
  const card = renderCard(KINDS["with incidents"]);
  expect(card).toContain("- Layer 7, step 120: held-out VE fell by 0.02: back to step 100\n");
  expect(card).toContain("- Layer 7, step 120: went on in another numeric class\n");
  expect(card).toContain("of 10 000 audited, 3 were missed");
  expect(card).toContain("stopped early, after 900 of 1000 steps");
  expect(card).toContain("held-out VE was best at step 800");
  expect(card).toContain("**undone**");
  expect(renderCard(KINDS["below its gate"])).toMatch(/\*\*Below the gate\.\*\*.*layers 7, 21 did not/);
  expect(renderCard(KINDS.polished)).toContain("VE before the polish: prose 0.7900, chat undefined.");
  expect(card).toContain("token ids 0–3, 105, 106 were left out");
});

it("the linter and the link check see what is wrong", async () => {
  expect(await markdownProblems("# a\n\n# b\n")).not.toEqual([]);
  expect(await markdownProblems("# a\n\n| a | b |\n|---|---|\n| c |\n")).not.toEqual([]);
  const links =
    "# A b\n\n[x](gone.json) [y](#a-b) [z](#nowhere) [v](http://plain.org) [w](https://no) [u](there.json)";
  expect(brokenLinks(links, (path) => path === "there.json")).toEqual([
    "gone.json",
    "#nowhere",
    "http://plain.org",
    "https://no",
  ]);
});
