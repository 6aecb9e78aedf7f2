/**
 * `lapidary eval` of an SAE as a user sees it: models and texts in one table, the base model as the measure, stores, several
 * layers; verdicts on the embedded models, which an SAE of the base model is known to fit and not to fit.
 */
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWriter } from "../../src/activations/writer.ts";
import { TRANSFER_LIMITS } from "../../src/evals/transfer/limits.ts";
import type { TransferReport } from "../../src/evals/transfer/report.ts";
import { TRANSFER_DEFINITIONS } from "../../src/evals/transfer/transfer.ts";
import { TappedLayer } from "../../src/pipeline/transfer/tapped-layer.ts";
import { embeddedText } from "../../src/pipeline/transfer/texts.ts";
import { transferWindows } from "../../src/pipeline/transfer/windows.ts";
import { loadSae } from "../../src/sae/load.ts";
import { commandLine } from "./command-line.ts";
import { type Finished, ROOT } from "./small-recipe.ts";

const ASSETS = join(ROOT, "assets/tiny-gemma");
const SAE = join(ASSETS, "sae-base/layer_4");
const BASE = join(ASSETS, "base");
const IT = join(ASSETS, "it");
const SMALL = ["--tokens", "500", "--context", "128"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lapidary-transfer-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lapidary = (...args: string[]) => commandLine(folder, "eval", ...args);
function reportOf({ stdout }: Finished): TransferReport {
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "").result;
}

describe("models and texts", () => {
  it("two models, a label, two texts: a table, fixes, and one verdict a model, nothing on stderr", async () => {
    const shown = await lapidary(
      SAE,
      ...["--base", BASE, "--model", `instructed=${IT}`, "--embedded", "prose,chat"],
      ...["--recentre", "--rescale", ...SMALL],
    );
    expect(shown.stderr).toBe("");
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(
      /^ +│ short texts, at most 64 tokens +│ full contexts, 128 tokens +│ what comes in$/m,
    );
    for (const row of ["base +prose", "base +chat", "instructed +prose", "instructed +chat"])
      expect(shown.stdout).toMatch(new RegExp(`^${row} +│ 0\\.[78]\\d\\d ±0\\.0\\d\\d +\\d\\d\\.\\d`, "m"));
    expect(shown.stdout).toMatch(/^model +text +│ +as it is +re-centred +rescaled +both$/m);
    expect(shown.stdout).toMatch(/^instructed on (prose|chat), where it does worst of 2 texts: adapt$/m);
    expect(shown.stdout).toMatch(
      /^ {2}It does not fit as it is: VE 0\.7\d\d, 0\.8\d\d on the base model \(0\.\d+ lost\)\.$/m,
    );
    expect(shown.stdout).toMatch(
      /^ {2}Neither a uniform shift nor outliers: .* The distribution itself is another\.$/m,
    );
    expect(shown.stdout).toMatch(/^ {2}Adapt it \(lapidary run\)\. Adapting has to beat VE 0\.7\d\d at L0/m);
    expect(shown.stdout).not.toMatch(/^base on/m);
  });

  it("--json: every number with definitions and limits; what is at home fits, a twin of it fits as well", async () => {
    const report = reportOf(
      await lapidary(
        ...[SAE, "--base", BASE, "--model", `twin=${BASE}`, "--embedded", "prose"],
        ...["--protocols", "full", "--json", ...SMALL],
      ),
    );
    expect(report).toMatchObject({ format: "lapidary-transfer", layer: 4, k: 32 });
    expect(report.definitions).toEqual(TRANSFER_DEFINITIONS);
    expect(report.limits).toEqual(TRANSFER_LIMITS);
    const [base, twin] = report.cells;
    expect([base.isBase, twin.isBase]).toEqual([true, false]);
    expect(base.verdict.cause).toBe("none");
    expect(twin.verdict.cause).toBe("none");
    expect(twin.diagnosis).toMatchObject({ meanShift: 0, scaleRatio: 1, home: { ve: base.diagnosis.ve } });
    expect(twin.diagnosis.fixes?.both.ve).toBeCloseTo(twin.diagnosis.fixes!.none.ve!, 6);
    expect(twin.result.outliers?.worst[0].token).not.toBeNull();
    expect(twin.result.nDocuments).toBeGreaterThan(1);
  });

  it("a base model without a chat template reads chats by that of another model", async () => {
    const bare = join(folder, "bare");
    await mkdir(bare);
    for (const name of await readdir(BASE))
      if (!name.startsWith("chat_template")) await symlink(join(BASE, name), join(bare, name));
    const of = async (base: string) =>
      reportOf(
        await lapidary(
          ...[SAE, "--base", base, "--model", IT, "--embedded", "chat", "--protocols", "full"],
          ...["--json", "--tokens", "200", "--context", "64"],
        ),
      ).cells[0].result.metrics;
    expect((await of(bare)).ve).toEqual((await of(BASE)).ve);
    const alone = await lapidary(SAE, "--model", bare, "--embedded", "chat");
    expect(alone.stderr).toMatch(/has no chat template/);
  });

  it("several layers by {layer}; files of documents and plain text together", async () => {
    const text = join(folder, "notes.txt");
    await writeFile(
      text,
      Array.from({ length: 40 }, (_, i) => `Paragraph ${i} of a plain text.`).join("\n\n"),
    );
    const result = await lapidary(
      ...[join(ASSETS, "sae-base/layer_{layer}"), "--layers", "2,4", "--model", IT],
      ...["--text", text, "--text", `chats=${join(ASSETS, "data/chat_heldout.jsonl")}`],
      ...["--protocols", "full", "--json", "--tokens", "400", "--context", "64"],
    );
    const reports = reportOf(result) as unknown as TransferReport[];
    expect(reports.map(({ layer }) => layer)).toEqual([2, 4]);
    for (const { cells, layer } of reports) {
      expect(cells.map(({ text }) => text)).toEqual(["notes.txt", "chats"]);
      for (const { result } of cells) expect(result.hookName).toBe(`blocks.${layer}.hook_resid_post`);
      expect(cells[0].diagnosis).toMatchObject({ expected: "sae", home: null });
    }
  });
});

it("--splice: what the SAE does to predictions, on full contexts; a base SAE hurts the it model more", async () => {
  const args = [SAE, "--base", BASE, "--model", IT, "--embedded", "chat", "--splice"];
  const { cells } = reportOf(await lapidary(...args, "--json", "--tokens", "300", "--context", "64"));
  const scores = cells.map(({ protocol, splice }) => [protocol, splice?.metrics.ceScore.value ?? null]);
  expect(scores.map(([protocol, score]) => [protocol, score !== null])).toEqual([
    ["short", false],
    ["full", true],
    ["short", false],
    ["full", true],
  ]);
  const [home, away] = [cells[1].splice!, cells[3].splice!];
  expect(home.metrics.klSpliced.value).toBeLessThan(away.metrics.klSpliced.value);
  expect(home.metrics.klSpliced.value).toBeGreaterThan(0);
  expect(away.nTokens).toBe(cells[3].result.nTokens);
  expect(away.saes).toEqual([cells[3].result.sae]);
});

describe("stores", () => {
  it("say the same as the texts they were made of", async () => {
    const sae = await loadSae(SAE);
    const stores: Record<string, string> = {};
    for (const [name, path] of [
      ["base", BASE],
      ["it", IT],
    ]) {
      const tapped = await TappedLayer.open(path, sae, { layer: 4 });
      const windows = await transferWindows(await embeddedText("prose"), tapped.tokenizer, {
        ...{ protocol: "full", contextSize: 128, tokens: 500, prependBos: true },
      });
      const rows = await tapped.rows(windows);
      await tapped.close();
      stores[name] = join(folder, name);
      const identity = { dIn: 256, hookName: "blocks.4.hook_resid_post", set: "prose", provenance: {} };
      const writer = await openWriter(stores[name], { ...identity, dtype: "f32" });
      await writer.writeShard(0, rows);
      await writer.finish();
    }
    const of = async (...args: string[]) => reportOf(await lapidary(SAE, ...args, "--json")).cells;
    const fromStores = await of("--base-data", stores.base, "--data", `it=${stores.it}`);
    const twins = await lapidary(SAE, "--data", `it=${stores.it}`, "--data", `it=${stores.base}`);
    expect(twins.stderr).toMatch(/two stores of set "prose" are called "it"/);
    const fromTexts = await of(
      ...["--base", BASE, "--model", IT, "--embedded", "prose", "--protocols", "full", ...SMALL],
    );
    for (const [i, { diagnosis, verdict }] of fromStores.entries()) {
      const other = fromTexts[i];
      expect(diagnosis.ve).toBeCloseTo(other.diagnosis.ve!, 12);
      expect(diagnosis.fixes?.both.ve).toBeCloseTo(other.diagnosis.fixes!.both.ve!, 10);
      expect(diagnosis.meanShift).toBeCloseTo(other.diagnosis.meanShift!, 10);
      expect(verdict.cause).toBe(other.verdict.cause);
    }
    expect(fromStores[1]).toMatchObject({ model: "it", protocol: "store", isBase: false });
  });
});

it.each([
  [["--model", IT], /what shall the SAE be evaluated on\?/, /--text FILE/],
  [["--embedded", "prose"], /which model shall read the texts\?/, /--model FOLDER/],
  [["--data", "somewhere", "--tokens", "5"], /--tokens goes with --text/, /--help/],
  [["--layers", "2", "--model", IT, "--embedded", "prose"], /--layers goes with \{layer\}/, /--layer N/],
  [
    ["--model", IT, "--model", `it=${BASE}`, "--embedded", "prose"],
    /two models are called "it"/,
    /NAME=FOLDER/,
  ],
  [["--model", IT, "--embedded", "prose,prose"], /two texts are called "prose"/, /NAME=FILE/],
])("%j is refused", async (args, cause, hint) => {
  const { code, stderr } = await lapidary(SAE, ...args);
  const [message, advice] = stderr.trim().split("\n");
  expect(message).toMatch(cause);
  expect(advice).toMatch(hint);
  expect(code).toBe(2);
});

it("a list with an unknown name is refused by name", async () => {
  const { code, stderr } = await lapidary(SAE, "--model", IT, "--embedded", "prose,poems");
  expect(stderr).toMatch(/"poems" is none of prose, chat/);
  expect(code).toBe(2);
});
