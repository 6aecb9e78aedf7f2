/**
 * The embedded assets: every row's source and licence stand in the table of assets/README.md, the licence texts are there
 * and whole, what the quickstart reads is there, and the repository stays small enough to clone.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const data = join(root, "assets/tiny-gemma/data");
const readme = readFileSync(join(root, "assets/README.md"), "utf8");

const CAP_BYTES = 120_000_000;

/** Licences a row may carry; anything else (copyleft, non-commercial, unknown) must not be embedded. */
const PERMISSIVE = new Set([
  "public-domain",
  "public-domain (PDDL/CC0)",
  "CC0",
  "PSF-2.0",
  "PostgreSQL",
  "Apache-2.0",
  "MIT / Apache-2.0",
  "WordNet licence (BSD-like)",
  "UN text, freely reproducible; markup MIT",
]);

interface Source {
  name: string;
  license: string;
}

/** The table's rows: each name in the first column, with the licence in the second. */
function listedSources(markdown: string): Source[] {
  const row = /^\| (`[^`]+`(?:, `[^`]+`)*) \| `([^`]+)` \|/gm;
  return [...markdown.matchAll(row)].flatMap(([, names, license]) =>
    [...names!.matchAll(/`([^`]+)`/g)].map(([, name]) => ({ name: name!, license: license! })),
  );
}

function findSource(sources: readonly Source[], name: string): Source | undefined {
  return sources.find((s) => (s.name.endsWith("*") ? name.startsWith(s.name.slice(0, -1)) : s.name === name));
}

/** What is wrong with a row, or undefined. Several sources are joined by " | ", and their licences likewise. */
function rowProblem(row: { source?: unknown; license?: unknown }, sources: readonly Source[]) {
  if (typeof row.source !== "string" || typeof row.license !== "string") return "has no source or no license";
  const found = row.source.split(" | ").map((name) => ({ name, listed: findSource(sources, name) }));
  const unlisted = found.find((f) => f.listed === undefined);
  if (unlisted) return `names the source "${unlisted.name}", which assets/README.md does not list`;
  const expected = [...new Set(found.map((f) => f.listed!.license))].sort().join(" | ");
  const got = row.license.split(" | ").sort().join(" | ");
  return got === expected ? undefined : `says license "${got}", assets/README.md says "${expected}"`;
}

describe("texts", () => {
  const sources = listedSources(readme);
  const files = readdirSync(data).filter((name) => name.endsWith(".jsonl"));

  it("the table of sources is found, and lists permissive licences only", () => {
    expect(sources.length).toBeGreaterThanOrEqual(15);
    expect(sources.filter((s) => !PERMISSIVE.has(s.license))).toEqual([]);
  });

  it("the rule itself refuses what it should", () => {
    expect(rowProblem({ source: "KJV", license: "public-domain" }, sources)).toBeUndefined();
    expect(
      rowProblem({ source: "KJV | synthetic", license: "CC0 | public-domain" }, sources),
    ).toBeUndefined();
    expect(rowProblem({ source: "KJV | a blog", license: "public-domain" }, sources)).toMatch(/"a blog"/);
    expect(rowProblem({ source: "KJV", license: "GFDL" }, sources)).toMatch(/GFDL/);
    expect(rowProblem({ source: "KJV" }, sources)).toMatch(/no license/);
  });

  it.each(files)("%s: every row's source is listed, with that licence", (file) => {
    const problems = readFileSync(join(data, file), "utf8")
      .split("\n")
      .flatMap((line, i) => {
        if (line === "") return [];
        const problem = rowProblem(JSON.parse(line), sources);
        return problem === undefined ? [] : [`${file}:${i + 1} ${problem}`];
      });
    expect(problems.slice(0, 5)).toEqual([]);
  });

  it("no document lies both in a train and in a held-out file", () => {
    const texts = (file: string) =>
      readFileSync(join(data, file), "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { text?: string; messages?: unknown })
        .map((row) => row.text ?? JSON.stringify(row.messages));
    for (const [train, heldOut] of [
      ["prose_train.jsonl", "heldout_prose.jsonl"],
      ["chat_train.jsonl", "chat_heldout.jsonl"],
    ] as const) {
      const seen = new Set(texts(train));
      expect(texts(heldOut).filter((text) => seen.has(text))).toEqual([]);
    }
  });
});

describe("licence texts", () => {
  it.each([
    ["Apache-2.0.txt", "Apache License", "END OF TERMS AND CONDITIONS"],
    ["MIT.txt", "Permission is hereby granted, free of charge", "DEALINGS IN THE\nSOFTWARE."],
    ["PSF-2.0.txt", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2", "ZERO-CLAUSE BSD LICENSE"],
    ["PostgreSQL.txt", "PostgreSQL Global Development Group", "MODIFICATIONS."],
    [
      "WordNet.txt",
      "WordNet 3.1 Copyright 2011 by Princeton University",
      "LICENSEE agrees to preserve same.",
    ],
    ["CC0-1.0.txt", "CC0 1.0 Universal", "4. Limitations and Disclaimers."],
    ["PDDL-1.0.txt", "Public Domain Dedication", "6.4 This Document takes effect"],
  ])("%s is there, from its first to its last clause", (file, first, last) => {
    const text = readFileSync(join(root, "assets/licenses", file), "utf8");
    expect(text).toContain(first);
    expect(text.lastIndexOf(last)).toBeGreaterThan(text.indexOf(first));
  });

  it("every licence text that assets/README.md links exists", () => {
    const links = [...readme.matchAll(/\]\((licenses\/[^)]+)\)/g)].map((m) => m[1]!);
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter((link) => !existsSync(join(root, "assets", link)))).toEqual([]);
  });
});

describe("models and sizes", () => {
  it.each([
    ["base", "model.onnx"],
    ["it", "model.onnx"],
    ["it-int8", "model_quantized.onnx"],
  ])("%s has a graph, a configuration, a tokenizer and a chat template", (model, graph) => {
    for (const file of [
      graph,
      "config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      "chat_template.jinja",
    ])
      expect(statSync(join(root, "assets/tiny-gemma", model, file)).size).toBeGreaterThan(0);
  });

  it.each([2, 4, 6])("the base SAE of layer %i has its configuration, weights and recipe record", (layer) => {
    for (const file of ["cfg.json", "sae_weights.safetensors", "runner_cfg.json"])
      expect(statSync(join(root, `assets/tiny-gemma/sae-base/layer_${layer}`, file)).size).toBeGreaterThan(0);
  });

  it("assets/README.md names every folder and file of data", () => {
    for (const name of readdirSync(data)) expect(readme).toContain(name.replace(".jsonl", ""));
    for (const name of readdirSync(join(root, "assets/tiny-gemma")))
      expect(readme).toContain(`tiny-gemma/${name}/`);
  });

  it("all tracked files together stay under 120 MB", () => {
    const total = trackedFiles().reduce((sum, file) => sum + sizeOf(file), 0);
    expect(total).toBeGreaterThan(50_000_000);
    expect(total).toBeLessThan(CAP_BYTES);
  });
});

/** What git tracks; outside a git checkout, everything in the two folders that hold large files. */
function trackedFiles(): string[] {
  try {
    const listing = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" });
    return listing.split("\0").filter((file) => file !== "");
  } catch {
    return ["assets", "test/fixtures"].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) =>
        join(folder, name),
      ),
    );
  }
}

function sizeOf(file: string): number {
  const path = join(root, file);
  if (!existsSync(path)) return 0;
  const stats = statSync(path);
  return stats.isFile() ? stats.size : 0;
}
