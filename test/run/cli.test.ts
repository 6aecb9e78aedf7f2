/**
 * The command line as a user meets it: one small run that most checks share (through copies of its folder), every exit
 * code of `--help`, every refusal with what to try, and each command at least once.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { openActivationStore } from "../../src/activations/store.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { commandLine } from "./command-line.ts";
import { cli, type Finished, ROOT, smallRecipe, smallRun, startCli } from "./small-recipe.ts";

const ASSETS = join(ROOT, "assets/tiny-gemma");
const GOLDEN = join(ROOT, "test/fixtures/golden");
/** Units of the small recipe. */
const STEPS = 24;
const SAE = "btk-mat-layer-4-k-32";
const HOOK = "blocks.4.hook_resid_post";

/** As the small recipe's, without checkpoints on the way: they cost more than the steps. */
const TRAIN = { ...(smallRecipe(ROOT).train as object), checkpointEverySteps: 1000 };

let folder: string;
let recipe: string;
let first: Finished;

beforeAll(async () => {
  ({ folder, recipe } = await smallRun({ train: TRAIN }));
  first = await lapidary("run", recipe);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const lapidary = (...args: string[]) => commandLine(folder, ...args);
const inRun = (...path: string[]) => join(folder, "runs", ...path);

/** A copy of the finished run under another name; all of its work counts as done there, too. */
async function copyOfRun(name: string): Promise<string[]> {
  await cp(inRun("small"), inRun(name), { recursive: true });
  return ["run", recipe, "--set", `name=${name}`];
}

/** Every line on stdout as JSON. */
const jsonLines = ({ stdout }: Finished) =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { kind: string; [key: string]: unknown });
const resultOf = (finished: Finished) => jsonLines(finished).at(-1)!.result as Record<string, unknown>;

/** An error is two lines, cause and what to try, and no stack. */
function expectError({ code, stderr }: Finished, wanted: number, cause: RegExp, hint: RegExp): void {
  const lines = stderr.trim().split("\n").slice(-2);
  expect(lines[0]).toMatch(/^lapidary: /);
  expect(lines[0]).toMatch(cause);
  expect(lines[1]).toMatch(/^ {2}try: /);
  expect(lines[1]).toMatch(hint);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(code).toBe(wanted);
}

async function withChange<T>(path: string, change: (bytes: Buffer) => Buffer, body: () => Promise<T>) {
  const before = await readFile(path);
  await writeFile(path, change(Buffer.from(before)));
  try {
    return await body();
  } finally {
    await writeFile(path, before);
  }
}

/** The lowest bit of a byte in the middle turned round. */
function flipped(bytes: Buffer): Buffer {
  bytes[bytes.length >> 1] ^= 1;
  return bytes;
}

describe("run", () => {
  it("does all stages, prints the table, the saved SAE and what shows more", async () => {
    expect(first.stderr).not.toContain("lapidary:");
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(
      /layer │ base SAE on its own model: VE \(L0\) │ before, on .* │ after: .* │ dead/,
    );
    expect(first.stdout).toMatch(/^4 +│ 0\.\d{3} \(\d+\.\d\) \/ 0\.\d{3} .*│ +\d+ *$/m);
    expect(first.stdout).toContain(`runs/small/sae/${SAE}`);
    expect(first.stdout).toContain("npx lapidary inspect runs/small");
    expect(first.stderr).toMatch(/^✓ train layer 4 /m);
    expect(first.stderr).not.toContain("\r"); // not a terminal: nothing moves
    expect((await readdir(inRun("small"))).sort()).toEqual(
      [
        "README.md",
        "activations",
        "corpus",
        "evals",
        "recipe.yaml",
        "report",
        "run.json",
        "sae",
        "train",
      ].sort(),
    );
  });

  it("of a finished run does nothing and says so; also from the recipe it wrote", async () => {
    const before = await stat(inRun("small", "README.md"));
    for (const path of [recipe, "runs/small/recipe.yaml"]) {
      const again = await lapidary("run", path);
      expect(again.stderr.match(/^· .* \(done before, unchanged\)$/gm)).toHaveLength(STEPS);
      expect(again.stderr).not.toContain("✓");
      expect(again.stdout).toMatch(
        new RegExp(`Nothing to do: all ${STEPS} steps of this run were done before \\([0-3]\\.\\d s\\)`),
      );
      expect(again.code).toBe(0);
    }
    expect((await stat(inRun("small", "README.md"))).mtimeMs).toBe(before.mtimeMs);
  });

  it("writes every default into the run's recipe", async () => {
    const written = parse(await readFile(inRun("small", "recipe.yaml"), "utf8"));
    expect(written.train).toMatchObject({
      beta2: 0.999,
      clipNorm: 1,
      schedule: "cosineannealing",
      logEverySteps: 10,
    });
    expect(written.eval).toMatchObject({ gate: null, packing: null });
  });

  it("--json: every line is JSON, the last the result", async () => {
    const again = await lapidary("run", recipe, "--json");
    const lines = jsonLines(again);
    expect(lines.slice(0, -1).map(({ kind }) => kind)).toEqual(Array(STEPS).fill("skipped"));
    expect(resultOf(again)).toMatchObject({
      nRun: 0,
      nSkipped: STEPS,
      belowGate: [],
      saved: { 4: inRun("small", "sae", SAE) },
    });
    expect(again.stderr).toBe("");
  });

  it("exits 3 when a layer is below the gate, marks it, and needs no work for another gate", async () => {
    const low = await lapidary("run", recipe, "--set", "eval.gate=0.99");
    expect(low.stdout).toContain("Below the gate: layer 4");
    expect(low.stderr.match(/^✓ .*/gm)).toEqual([
      expect.stringContaining("model card"),
      expect.stringContaining("report"),
    ]);
    expect(await readFile(inRun("small", "README.md"), "utf8")).toContain("**Below the gate.**");
    expect(low.code).toBe(3);
    const back = await lapidary("run", recipe);
    expect(back.code).toBe(0);
    expect(await readFile(inRun("small", "README.md"), "utf8")).not.toContain("Below the gate");
    const card = await readFile(inRun("small", "README.md"), "utf8");
    const after = JSON.parse(await readFile(inRun("small", "evals", `${HOOK}.after.json`), "utf8"));
    for (const { set, isDomain, result } of after.results) {
      expect(card).toMatch(new RegExp(`^\\| metric \\|.* ${set} \\|`, "m"));
      expect(card).toMatch(new RegExp(`^\\| ve \\|.* → ${result.metrics.ve.value.toPrecision(4)}`, "m"));
      if (!isDomain) expect(card).toContain(`${result.latents.nNeverFired}`.replace(/\B(?=(\d{3})+$)/g, " "));
    }
    expect(card).toContain("**Source SAE**: `sae-base/layer_4`, made for `tiny-gemma/base`.");
  });

  it("--threads: the same weights from one worker; --json tells the memory before it trains", async () => {
    const run = await copyOfRun("threads");
    await rm(inRun("threads", "train", HOOK), { recursive: true });
    const events = jsonLines(await lapidary(...run, "--only", "train", "--threads", "1", "--json"));
    const memory = events.find(({ kind }) => kind === "memory") as unknown as {
      unit: string;
      total: number;
      parts: { name: string; bytes: number }[];
    };
    expect(memory.unit).toBe("train:4");
    expect(memory.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(memory.total);
    expect(events.some(({ kind, unit }) => kind === "done" && unit === "train:4")).toBe(true);
    const state = async (name: string) => JSON.parse(await readFile(inRun(name, "run.json"), "utf8"));
    const { engineDescription, ...trained } = (await state("threads")).units["train:4"].output;
    const { engineDescription: before, ...expected } = (await state("small")).units["train:4"].output;
    expect(trained).toEqual(expected);
    if (trained.numericClass === "fp32-fma16") {
      expect(engineDescription).toMatch(/, 1 thread$/);
      expect(before).toMatch(/, \d+ threads?$/);
    }
  });

  it("refuses changed inputs and names the change; --overwrite makes it and what follows anew", async () => {
    const run = await copyOfRun("changed");
    const refused = await lapidary(...run, "--set", "train.lr=1e-3");
    expectError(
      refused,
      1,
      /"train layer 4" was made with other inputs: train\.lr 0\.0004 → 0\.001$/,
      /name=.*--overwrite/,
    );
    const kept = await readFile(inRun("changed", "recipe.yaml"), "utf8");
    expect(parse(kept)).toMatchObject({ train: { lr: 0.0004 } }); // what was refused is not what the run was made with
    const trained = await lapidary(...run, "--set", "train.lr=1e-3", "--overwrite", "--only", "train");
    expect(trained.stderr).toMatch(/^memory: \d+ MB of [\d.]+ GB free \(weights .*\)\n✓ train layer 4 .*\n$/);
    expect(trained.stdout).not.toContain("│"); // the old SAE's results are not shown as the new one's
    expect(trained.stdout).toContain("Go on with:  npx lapidary run ");
    const made = await lapidary(...run, "--set", "train.lr=1e-3", "--overwrite", "--json");
    const events = jsonLines(made);
    const did = (kind: string) => events.filter((event) => event.kind === kind).map(({ unit }) => unit);
    expect(did("skipped")).toEqual(
      expect.arrayContaining(["corpus:train", "harvest:model:train", "before:4", "train:4"]),
    );
    expect(did("done")).toEqual([
      "export:4",
      "after:4",
      "polish:4",
      "polish-export:4",
      "polish-after:4",
      "latents:4",
      "verify:4",
      "contract:4",
      "splice:after",
      "card",
      "report",
    ]);
    expect(made.code).toBe(0);
  });

  it("keeps the results before a polish, and brings the unpolished SAE back when none is wanted any more", async () => {
    const evals = async (name: string, phase: string) =>
      JSON.parse(await readFile(inRun(name, "evals", `${HOOK}.${phase}.json`), "utf8"));
    const ve = (of: { results: { result: { metrics: { ve: { value: number } } } }[] }) =>
      of.results[0].result.metrics.ve.value;
    const [prepolish, after] = [await evals("small", "prepolish"), await evals("small", "after")];
    expect(prepolish).toMatchObject({ phase: "prepolish", layer: 4 });
    expect(ve(prepolish)).not.toBe(ve(after));
    expect(await readFile(inRun("small", "README.md"), "utf8")).toContain(
      `VE before the polish: prose ${ve(prepolish).toFixed(4)}`,
    );

    // gate 0 is reached without a polish; gate 0.99 is not
    const run = await copyOfRun("gated");
    const unneeded = await lapidary(...run, "--set", "polish.when=gate", "--set", "eval.gate=0");
    expect(unneeded.stderr.match(/^✓ .*/gm)?.map((line) => line.replace(/ [\d.]+ s$/, ""))).toEqual([
      "✓ export layer 4",
      "✓ after: SAE of layer 4 on the held-out sets",
      "✓ latents: layer 4 before and after",
      "✓ verify layer 4",
      "✓ contract of layer 4",
      "✓ splice: predictions with the SAEs after training",
      "✓ model card",
      "✓ report",
    ]);
    expect(ve(await evals("gated", "after"))).toBe(ve(prepolish));
    const needed = await lapidary(...run, "--set", "polish.when=gate", "--set", "eval.gate=0.99");
    expect(needed.code).toBe(3);
    expect(needed.stderr).toMatch(/^· polish layer 4 /m); // the polish itself was done before
    expect(ve(await evals("gated", "after"))).toBe(ve(after));
    expect(ve(await evals("gated", "prepolish"))).toBe(ve(prepolish));
  });

  it("--only and --layers: says which stage has to come first, which layers there are", async () => {
    const only = await lapidary("run", recipe, "--set", "name=only", "--only", "train");
    expectError(
      only,
      1,
      /stage harvest of this run is not done yet \(harvest:model:train\)/,
      /--only harvest/,
    );
    const layers = await lapidary("run", recipe, "--layers", "3");
    expectError(layers, 2, /layers 3 are not in the recipe, which has 4/, /--set layers/);
    const stage = await lapidary("run", recipe, "--only", "trian");
    expect(stage.stderr).toContain('"trian" is no stage; stages are corpus, harvest');
    expect(stage.code).toBe(2);
  });

  it("stages as commands of their own", async () => {
    const names = ["corpus", "harvest", "adapt", "export", "report"];
    for (const name of names) {
      const done = await lapidary(name, recipe, "--quiet");
      expect(`${name} ${done.code} ${done.stderr}`).toBe(`${name} 0 `);
      expect(done.stdout).toContain("Nothing to do");
    }
  });

  it("card: by recipe or by run folder, the same text", async () => {
    const path = join(folder, "runs/small/README.md");
    const before = await readFile(path, "utf8");
    for (const place of [recipe, "runs/small"]) {
      const done = await lapidary("card", place, "--quiet");
      expect({ code: done.code, stderr: done.stderr }).toEqual({ code: 0, stderr: "" });
      expect(done.stdout).toMatch(/^Card: .*README\.md$/m);
      expect(await readFile(path, "utf8")).toBe(before);
    }
  });

  it("what the card says to type, in Node and on the command line, works as it stands", async () => {
    const text = await readFile(inRun("small", "README.md"), "utf8");
    const block = (language: string) => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(text)![1];
    const place = inRun("small", "sae");
    const program = `const residual = new Float32Array(2 * 256).fill(0.5);\n${block("js")}console.log(acts.nTokens, recon.length);`;
    await writeFile(join(place, "snippet.mjs"), program.replace("lapidary/node", join(ROOT, "src/node.ts")));
    try {
      const args = ["--import", import.meta.resolve("tsx"), "snippet.mjs"];
      expect((await promisify(execFile)(process.execPath, args, { cwd: place })).stdout).toBe("2 512\n");
    } finally {
      await rm(join(place, "snippet.mjs"));
    }
    const lines = block("sh").trim().split("\n");
    expect(lines.map((line) => line.split(" ")[1])).toEqual(["inspect", "check", "eval"]);
    for (const line of lines.slice(0, 2)) {
      const { code, stderr } = await commandLine(place, ...line.split(" ").slice(1));
      expect({ line, code, stderr }).toEqual({ line, code: 0, stderr: "" });
    }
  });

  it("recipe errors exit 2 and name the nearest key", async () => {
    const typo = await lapidary("run", recipe, "--set", "train.epocs=1");
    expectError(
      typo,
      2,
      /unknown key "train\.epocs" \(did you mean "train\.epochs"\?\)/,
      /recipe\.schema\.json/,
    );
    expectError(
      await lapidary("run", "absent.yaml"),
      2,
      /no recipe at absent\.yaml/,
      /recipes\/tiny-gemma\.yaml/,
    );
    const option = await lapidary("run", recipe, "--lawyers", "4");
    expect(option.stderr).toMatch(/unknown option '--lawyers'\n\(Did you mean --layers\?\)/);
    expect(option.code).toBe(2);
  });

  it("adds a layer to a run, and the card follows", async () => {
    const short = smallRecipe(folder) as Record<"corpus" | "eval", object>;
    const train = { ...TRAIN, epochs: 1, batchTokens: 500 };
    const sizes = {
      corpus: { ...short.corpus, tokens: 1500 },
      eval: { ...short.eval, tokens: 300, domains: [], splice: { tokens: 64 } },
    };
    const changes = { layers: [2, 4], name: "two", polish: { when: "never" }, train, ...sizes };
    const two = join(folder, "two.yaml");
    await writeFile(two, stringify(smallRecipe(folder, changes)));
    const one = await lapidary("run", two, "--layers", "4");
    expect(one.stdout).not.toMatch(/^2 +│/m);
    const both = await lapidary("run", two);
    expect(both.stdout).toMatch(/^2 +│[\s\S]*^4 +│/m);
    expect(both.code).toBe(0);
    expect(await readFile(inRun("two", "README.md"), "utf8")).toContain("btk-mat-layer-2-k-32");
  });
});

describe("what was changed on disk", () => {
  it("verify exits 4 and names the file or the number", async () => {
    const good = await lapidary("verify", "runs/small");
    expect(`${good.code} ${good.stdout}`).toContain(`0 ${SAE}: verified`);

    const weights = inRun("small", "sae", SAE, "sae_weights.safetensors");
    const damaged = await withChange(weights, flipped, () => lapidary("verify", `runs/small/sae/${SAE}`));
    expect(damaged.stdout).toMatch(
      /DIFFERS\n {2}sae_weights\.safetensors \(sha-256\): recorded \w+, found \w+/,
    );
    expect(damaged.code).toBe(4);

    const results = inRun("small", "evals", `${HOOK}.after.json`);
    const better = (bytes: Buffer) => {
      const evals = JSON.parse(bytes.toString());
      evals.results[1].result.metrics.ve.value += 2e-6;
      return Buffer.from(JSON.stringify(evals, null, 2));
    };
    const polished = await withChange(results, better, () => lapidary("verify", "runs/small", "--json"));
    expect(resultOf(polished)).toMatchObject([{ layer: 4, id: SAE, differences: [{ what: "chat: ve" }] }]);
    expect(polished.code).toBe(4);

    const other = (bytes: Buffer) =>
      Buffer.from(bytes.toString().replace(/"deadInTraining": \d+/, '"deadInTraining": 0'));
    const noted = await withChange(results, other, () => lapidary("verify", "runs/small"));
    expect(noted.stdout).toContain(`${HOOK}.after.json (sha-256)`);
    expect(noted.code).toBe(4);
  });

  it("check exits 4 and names what is not as the contract says", async () => {
    const sae = `runs/small/sae/${SAE}`;
    const good = await lapidary("check", sae, "--hashes");
    expect(`${good.code} ${good.stdout}`).toMatch(
      /^0 \S+: as its contract says: \d+ latents of 8 inputs and their reconstructions, cfg\.json, every file's hash/,
    );
    const bias = (bytes: Buffer) =>
      Buffer.from(bytes.toString().replace('"apply_b_dec_to_input": true', '"apply_b_dec_to_input": false'));
    const other = await withChange(inRun("small", "sae", SAE, "cfg.json"), bias, () =>
      lapidary("check", sae, "--json"),
    );
    expect(resultOf(other)).toMatchObject({
      holds: false,
      differences: [{ what: "cfg.json: apply_b_dec_to_input", expected: "true", found: "false" }],
    });
    expect(other.code).toBe(4);
    const weights = inRun("small", "sae", SAE, "sae_weights.safetensors");
    const damaged = await withChange(weights, flipped, () => lapidary("check", sae, "--hashes"));
    expect(damaged.stdout).toMatch(
      /NOT as its contract says\n {2}sae_weights\.safetensors: sha-256: expected \w+/,
    );
    expect(damaged.code).toBe(4);
    expectError(await lapidary("check", join(ASSETS, "sae-base/layer_4")), 1, /contract\.json/, /contract/);
  });

  it("a saved SAE that is gone, or not the one measured, is made again", async () => {
    const run = await copyOfRun("lost");
    await rm(inRun("lost", "sae", SAE), { recursive: true });
    const again = await lapidary(...run);
    expect(again.stderr.match(/^✓ .*/gm)).toEqual([
      expect.stringContaining("export polished layer 4"),
      expect.stringContaining("contract of layer 4"), // it lies with the SAE
      expect.stringContaining("model card"), // its title is the run's name
      expect.stringContaining("report"), // so is its
    ]);
    expect((await lapidary("verify", "runs/lost")).code).toBe(0);
  });

  it("a flipped byte in an activation shard is found on reading, and the file named", async () => {
    const store = inRun("small", "activations", "model", "chat", HOOK);
    const shard = join(store, "shard-00000.safetensors");
    const evaluated = await withChange(shard, flipped, () =>
      lapidary("eval", join(ASSETS, "sae-base/layer_4"), "--data", store),
    );
    expectError(evaluated, 1, /chat\/.*shard-00000\.safetensors/, /harvest|import|again/);
    expect((await lapidary("eval", join(ASSETS, "sae-base/layer_4"), "--data", store)).code).toBe(0);
  });
});

describe("--dry-run", () => {
  const COLUMNS = /^stage +tokens +steps +disk +memory +time +how the time was found$/m;
  const offline = { HF_ENDPOINT: "http://127.0.0.1:9", HF_HUB_OFFLINE: "1" };

  it("tiny-gemma: tokens, steps, disk, memory and time of each stage, and writes nothing", async () => {
    const plan = await lapidary(
      "run",
      join(ROOT, "recipes/tiny-gemma.yaml"),
      "--dry-run",
      "--runs",
      "elsewhere",
    );
    expect(plan.code).toBe(0);
    expect(plan.stdout).toMatch(COLUMNS);
    expect(plan.stdout).toMatch(
      /^harvest: training +300 000 +\d+ MB +\d+ MB +[\d.]+ (s|min \d+ s) +measured forward$/m,
    );
    expect(plan.stdout).toMatch(
      /^train +3 594 240 +3 510 .* measured step$|^train +3 \d{3} \d{3} +3 \d{3} .* measured step$/m,
    );
    expect(plan.stdout).not.toContain("lapidary import");
    await expect(stat(join(folder, "elsewhere"))).rejects.toThrow();
  });

  it("gemma-4-e4b-it, offline: 129 GB of activations, and the way round a harvest on a CPU", async () => {
    Object.assign(process.env, offline);
    const path = join(ROOT, "recipes/gemma-4-e4b-it.yaml");
    const plan = await lapidary("run", path, "--dry-run").finally(() => {
      for (const key of Object.keys(offline)) delete process.env[key];
    });
    expect(plan.stdout).toMatch(/^harvest: training +8 400 000 +129 GB +17 GB +[\d.]+ (h|days) /m);
    expect(plan.stdout).toMatch(/^train +75 571 200 +18 450 +\d+ GB +[\d.]+ GB +[\d.]+ (h|days) /m);
    expect(plan.stdout).toMatch(/On a CPU the harvest is (the larger|a large) part/); // which, is measured here and now
    expect(plan.stdout).toContain("lapidary import");
    expect(plan.stdout).not.toMatch(/ \? /);
    await expect(stat(inRun("gemma-4-e4b-it"))).rejects.toThrow();
  });
});

describe("eval", () => {
  it("an SAE on a model and a few KB of text, in seconds", async () => {
    const sae = join(ASSETS, "sae-base/layer_4");
    const args = ["eval", sae, "--model", join(ASSETS, "it"), "--text", join(ROOT, "README.md")];
    const text = await lapidary(...args);
    expect(text.stdout).toMatch(/^it on README\.md: \d[\d ]+ tokens, blocks\.4\.hook_resid_post/m);
    expect(text.stdout).toMatch(/^it on README\.md: adapt\n {2}It does not fit as it is: VE 0\.\d+/m);
    expect(text.stdout).toMatch(/^ {2}ve +0\.\d+ +Variance explained/m);
    expect(text.code).toBe(0);
    const json = resultOf(await lapidary(...args, "--json", "--context", "64", "--tokens", "300")) as {
      cells: { protocol: string; result: { nTokens: number; metrics: { ve: { value: number } } } }[];
    };
    expect(json.cells.map(({ protocol }) => protocol)).toEqual(["short", "full"]);
    for (const { result } of json.cells) {
      expect(result.metrics.ve.value).toBeGreaterThan(0.5);
      expect(result.nTokens).toBeGreaterThanOrEqual(300);
      expect(result.nTokens).toBeLessThan(300 + 64);
    }
  });

  it("says what is missing", async () => {
    const sae = join(ASSETS, "sae-base/layer_4");
    const model = ["--model", join(ASSETS, "it")];
    expectError(await lapidary("eval", sae), 2, /evaluated on\?/, /--text FILE/);
    expectError(
      await lapidary("eval", sae, ...model, "--text", "absent.txt"),
      1,
      /no text file at absent\.txt/,
      /UTF-8/,
    );
    expectError(
      await lapidary("eval", "absent", ...model, "--text", recipe),
      1,
      /absent: no such folder/,
      /hf:owner\/name/,
    );
    expectError(
      await lapidary("eval", recipe, ...model),
      2,
      /--model belongs to the evaluation of an SAE/,
      /eval --help/,
    );
    expectError(
      await lapidary("eval", join(ASSETS, "sae-base"), ...model, "--text", recipe),
      1,
      /sae-base: no SAE in a format that Lapidary reads/,
      /folder or file of one SAE/,
    );
    expectError(
      await lapidary("eval", sae, ...model, "--layer", "99", "--text", recipe),
      1,
      /layer 99 is out of range: .* 0 to 7/,
      /--layer/,
    );
    expectError(
      await lapidary("eval", join(GOLDEN, "inference_saves/jumprelu/sae"), ...model, "--text", recipe),
      1,
      /residual stream: got 256, expected the SAE's 32/,
      /another model/,
    );
    const other = join(ASSETS, "sae-base/layer_6");
    expectError(
      await lapidary("eval", other, "--data", inRun("small", "activations/model/chat", HOOK)),
      1,
      /reads model\.layers\.6, .* blocks\.4/,
      /hook point/,
    );
  });

  it("the eval stages of a recipe", async () => {
    const stages = await lapidary("eval", recipe);
    expect(stages.stderr.match(/^· /gm)).toHaveLength(2);
    expect(stages.code).toBe(0);
  });
});

describe("import", () => {
  it("a SAELens activation cache becomes a store", async () => {
    const around = await lapidary("import", join(GOLDEN, "cached_activations"), "cache");
    expectError(around, 1, /no SAELens activation cache, but its folder "dataset" is/, /import .*dataset$/);
    const made = await lapidary(
      "import",
      join(GOLDEN, "cached_activations/dataset"),
      "cache",
      "--name",
      "cached",
    );
    expect(made.stderr).toBe("");
    expect(made.code).toBe(0);
    const shown = await lapidary("inspect", "cache");
    expect(shown.stdout).toMatch(/^Activation store: \d[\d ]* rows of 24 f32\n {2}hook point {2}\S+/);
  });

  it("a recipe trains from dumps made elsewhere, to the same SAE as from its own harvest", async () => {
    for (const [model, set] of [
      ["model", "train"],
      ["model", "prose"],
      ["model", "chat"],
      ["model", "code"],
      ["base", "prose"],
      ["base", "chat"],
    ])
      await dump(inRun("small", "activations", model, set, HOOK), join(folder, "dumps", model, set));
    const changes = {
      name: "imported",
      train: TRAIN,
      activations: { import: "dumps/{model}/{set}/layer_{layer}.safetensors" },
    };
    const path = join(folder, "imported.yaml");
    await writeFile(path, stringify(smallRecipe(folder, changes)));
    const plan = await lapidary("run", path, "--dry-run");
    expect(plan.stdout).toMatch(/^harvest: import, training +6 000 /m);
    const run = await lapidary("run", path);
    expect(run.stderr).toMatch(/^✓ import train of the model/m);
    expect(run.code).toBe(0);
    const weights = (name: string) => readFile(inRun(name, "sae", SAE, "sae_weights.safetensors"));
    expect((await weights("imported")).equals(await weights("small"))).toBe(true);
    expect(await readFile(inRun("imported", "README.md"), "utf8")).toContain("made elsewhere and imported");

    await rm(join(folder, "dumps/model/chat"), { recursive: true });
    const absent = await lapidary("run", path, "--set", "name=absent");
    expectError(absent, 2, /no activations of chat, layer 4, at /, /docs\/formats\/import\.md/);
  });
});

/** A store's rows as a program elsewhere would write them. */
async function dump(store: string, to: string): Promise<void> {
  const opened = await openActivationStore(store);
  const { nRows, activations, tokenIds, document, position } = await opened.rows(0, opened.nRows);
  await mkdir(to, { recursive: true });
  const label = (name: string, data: Uint32Array) => ({ name, dtype: "U32" as const, shape: [nRows], data });
  await writeSafetensors(join(to, "layer_4.safetensors"), [
    { name: "activations", dtype: "F32", shape: [nRows, opened.dIn], data: activations },
    label("token_ids", tokenIds),
    label("document", document),
    label("position", position),
  ]);
  await opened.close();
}

describe("other starts and other models", () => {
  it("from scratch: no source SAE, no before", async () => {
    const run = await copyOfRun("scratch");
    const changes = { name: "scratch", sae: { scratch: { dSae: 512 } }, polish: { when: "never" } };
    const train = { ...TRAIN, k: 16, widths: [128, 512], epochs: 1 };
    await writeFile(join(folder, "scratch.yaml"), stringify(smallRecipe(folder, { ...changes, train })));
    const made = await lapidary("run", join(folder, "scratch.yaml"), "--overwrite", ...run.slice(4));
    expect(made.stderr).not.toContain("lapidary:");
    expect(made.code).toBe(0);
    const shown = await lapidary("inspect", inRun("scratch/sae/btk-mat-layer-4-k-16"));
    expect(shown.stdout).toMatch(
      /^SAE \(jumprelu\): 256 → 512 latents\n[\s\S]*^ {2}hook point +blocks\.4\.hook_resid_post/m,
    );
    expect(await readFile(inRun("scratch/README.md"), "utf8")).toContain(
      "**Source SAE**: none; trained from scratch.",
    );
  });

  it("a published SAE trained on as the jumprelu it is: better than it was, exported, verified", async () => {
    const run = await copyOfRun("jumprelu");
    const changes = {
      name: "jumprelu",
      sae: {
        ...(smallRecipe(folder).sae as object),
        architecture: "jumprelu",
        jumprelu: { coefficient: 1e-4, warmUpSteps: 10, bandwidth: 0.5 },
      },
      polish: { when: "never" },
      eval: { ...(smallRecipe(folder).eval as object), domains: [], splice: null },
      output: { id: "jumprelu-layer-{layer}" },
    };
    const train = { ...TRAIN, resampling: null };
    await writeFile(join(folder, "jumprelu.yaml"), stringify(smallRecipe(folder, { ...changes, train })));
    const made = await lapidary("run", join(folder, "jumprelu.yaml"), "--overwrite", ...run.slice(4));
    expect(made.stderr).not.toContain("lapidary:");
    expect(made.code).toBe(0);
    const ve = async (phase: string) => {
      const file = inRun("jumprelu/evals", `${HOOK}.${phase}.json`);
      const { results } = JSON.parse(await readFile(file, "utf8")) as {
        results: { model: string; result: { metrics: { ve: { value: number } } } }[];
      };
      return results.filter(({ model }) => model === "model").map(({ result }) => result.metrics.ve.value);
    };
    const [before, after] = [await ve("before"), await ve("after")];
    expect(after).toHaveLength(2);
    for (const [i, value] of after.entries()) expect(value).toBeGreaterThan(before[i] + 0.02);
    const shown = await lapidary("inspect", inRun("jumprelu/sae/jumprelu-layer-4"));
    expect(shown.stdout).toMatch(/^SAE \(jumprelu\): 256 → /m);
    const cfg = await readFile(inRun("jumprelu/sae/jumprelu-layer-4/cfg.json"), "utf8");
    expect(JSON.parse(cfg)).toMatchObject({
      metadata: {
        lapidary: { architecture: "jumprelu", jumprelu_bandwidth: 0.5, sparsity_coefficient: 1e-4 },
      },
    });

    await writeFile(
      join(folder, "gated.yaml"),
      stringify(
        smallRecipe(folder, {
          ...changes,
          name: "gated-from-jumprelu",
          sae: { ...changes.sae, architecture: "gated", jumprelu: null },
          train,
        }),
      ),
    );
    await copyOfRun("gated-from-jumprelu");
    const refused = await lapidary("run", join(folder, "gated.yaml"), "--overwrite");
    expectError(refused, 2, /a jumprelu SAE cannot be trained on as gated/, /it holds no gates/);
  });

  it("a model whose activations are quantised by batch is run one window at a time, and it is said", async () => {
    const int8 = { source: join(ASSETS, "it-int8") };
    const corpus = { ...(smallRecipe(folder).corpus as object), tokens: 300 };
    const evaluated = { ...(smallRecipe(folder).eval as object), tokens: 200 };
    const changes = { name: "int8", model: int8, baseModel: null, corpus, eval: evaluated };
    await writeFile(join(folder, "int8.yaml"), stringify(smallRecipe(folder, changes)));
    const made = await lapidary("run", join(folder, "int8.yaml"), "--only", "corpus,harvest,before");
    expect(made.stderr).toMatch(/it-int8 quantises activations by batch: harvested one window at a time/);
    expect(made.code).toBe(0);
    const manifest = JSON.parse(
      await readFile(inRun("int8/activations/model/train", HOOK, "manifest.json"), "utf8"),
    );
    expect(manifest.provenance).toMatchObject({ batchWindows: 1 });
  });

  it("a base model with another tokenizer is refused", async () => {
    const base = join(folder, "other-base");
    await cp(join(ASSETS, "base"), base, { recursive: true });
    const tokenizer = join(base, "tokenizer.json");
    const { model, ...rest } = JSON.parse(await readFile(tokenizer, "utf8"));
    const [one, two] = Object.keys(model.vocab).slice(100, 102);
    [model.vocab[one], model.vocab[two]] = [model.vocab[two], model.vocab[one]];
    await writeFile(tokenizer, JSON.stringify({ ...rest, model }));
    const run = await copyOfRun("strange");
    await rm(inRun("strange", "activations/base"), { recursive: true });
    const refused = await lapidary(...run, "--set", `baseModel.source=${base}`);
    expectError(
      refused,
      2,
      /baseModel has another tokenizer than model: token 10\d is ".+" there, ".+" here/,
      /leave baseModel out/,
    );
  });

  it("a width of the recipe that is not the model's is refused", async () => {
    const args = [
      "run",
      recipe,
      "--set",
      "name=wide",
      "--set",
      "model.dIn=512",
      "--set",
      "corpus.tokens=300",
    ];
    expectError(
      await lapidary(...args),
      2,
      /residual stream of .* is 256 wide, the recipe says dIn: 512/,
      /read from the model/,
    );
  });

  it("windows longer than the model's context are refused", async () => {
    const long = ["--set", "name=long", "--set", "contextSize=2048", "--set", "corpus.tokens=300"];
    expectError(
      await lapidary("run", recipe, ...long, "--set", "corpus.packing=document"),
      2,
      /windows of 2048 tokens are longer than .* was made for: 1024/,
      /smaller contextSize/,
    );
  });
});

describe("inspect", () => {
  it.each([
    ["an SAE", () => join(ASSETS, "sae-base/layer_4"), /^SAE \(jumprelu\): 256 → 4 096 latents/],
    [
      "a store",
      () => inRun("small/activations/base/prose", HOOK),
      /^Activation store: 1 \d{3} rows of 256 bf16/,
    ],
    ["a corpus set", () => inRun("small/corpus/train"), /^Corpus set "train": \d+ windows of 128 tokens/],
    ["a model", () => join(ASSETS, "it"), /^Model \(gemma4_text\): model\.onnx.*\n.*8 layers \(0 to 7\)/],
    ["a run", () => inRun("small"), new RegExp(`^Run "small": ${STEPS} of ${STEPS} steps begun are done`)],
  ])("%s", async (_what, path, text) => {
    const shown = await lapidary("inspect", path());
    expect(shown.stdout).toMatch(text);
    expect(shown.code).toBe(0);
    expect(resultOf(await lapidary("inspect", path(), "--json"))).toHaveProperty("kind");
  });

  it("what it does not know", async () => {
    expectError(await lapidary("inspect", join(ASSETS, "data")), 1, /is nothing Lapidary knows/, /cfg\.json/);
    expectError(await lapidary("inspect", "nowhere"), 1, /nowhere: no such folder/, /hf:/);
  });
});

it("doctor: Node, processor, engine, ONNX Runtime, memory, disk", async () => {
  const { stdout, code } = await lapidary("doctor");
  for (const name of ["Node", "Processor", "Engine", "ONNX Runtime", "Memory", "Disk"])
    expect(stdout).toMatch(new RegExp(`^[✓·] ${name} +\\S`, "m"));
  expect(code).toBe(0);
  expect(resultOf(await lapidary("doctor", "--json"))).toHaveLength(6);
});

it("help has every command, with examples, and the exit codes", async () => {
  const { stdout, code } = await lapidary("--help");
  expect(code).toBe(0);
  for (const command of [
    "run",
    "corpus",
    "harvest",
    "import",
    "adapt",
    "eval",
    "compare",
    "export",
    "verify",
    "check",
    "card",
    "report",
    "inspect",
    "convert",
    "doctor",
  ]) {
    expect(stdout).toMatch(new RegExp(`^ {2}${command} \\[options\\]`, "m"));
    expect((await lapidary(command, "--help")).stdout).toMatch(/Examples?:\n {2}\$ lapidary /);
  }
  for (const exit of [0, 1, 2, 3, 4, 130]) expect(stdout).toMatch(new RegExp(`^ {2}${exit} {2}\\S`, "m"));
});

it("an unexpected error shows its stack only with --verbose; --json tells errors, too", async () => {
  const told = await lapidary("eval", "absent", "--data", "absent", "--json", "--verbose");
  expect(jsonLines(told)).toEqual([
    { kind: "error", code: "FORMAT", message: expect.stringContaining("absent"), hint: expect.any(String) },
  ]);
  expect(told.stderr).toMatch(/^\s+at /m);
});

it.skipIf(process.platform === "win32")(
  "Ctrl-C: exit 130, and the same command goes on; meanwhile a second process is refused",
  async () => {
    const long = ["--set", "train.epochs=25", "--overwrite"];
    const args = [...(await copyOfRun("stopped")), ...long];
    const one = await startedTraining(args);
    expectError(await cli(folder, ...args), 1, /process \d+ is working on this run/, /wait for it/);
    const stopped = await one.stop();
    expect(stopped.stderr).toMatch(
      /Stopping after the current step …\s+Interrupted\. .*the same command goes on/,
    );
    expect(stopped.code).toBe(130);

    const two = await startedTraining(args);
    const again = await two.stop();
    const begun = { kind: "begin", unit: "train:4", title: "train layer 4" };
    expect(jsonLines(stopped)).toContainEqual({ ...begun, resumed: false });
    expect(jsonLines(again)).toContainEqual({ ...begun, resumed: true });
    expect(stepsOf(again)[0]).toBeGreaterThan(stepsOf(stopped)[0]);
  },
);

const stepsOf = (finished: Finished) =>
  jsonLines(finished).flatMap(({ kind, progress }) =>
    kind === "progress" ? [(progress as { done: number }).done] : [],
  );

/** The command in a process of its own, as soon as it has trained a step; `stop` sends it Ctrl-C. */
async function startedTraining(args: readonly string[]): Promise<{ stop: () => Promise<Finished> }> {
  const { child, finished } = startCli(folder, [...args, "--json"]);
  await new Promise<void>((trained) => {
    let seen = "";
    child.stdout?.on("data", (data) => {
      seen += data;
      if (/"progress","unit":"train:4"/.test(seen)) trained();
    });
  });
  const stop = () => {
    child.kill("SIGINT");
    return finished;
  };
  return { stop };
}
