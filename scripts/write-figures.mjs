/**
 * Figures in documents come from result files: this writes them between `<!-- figures: NAME -->` and
 * `<!-- end of figures -->` in README.md and docs/performance.md.
 *
 *   node scripts/write-figures.mjs [run folder, default runs/tiny-gemma]
 *
 * NAME quickstart: the before/after table and the time of that run. NAME bench: the newest file of each bench in
 * bench/results/. A block whose source is missing is left as it is, and that is said.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const run = resolve(process.argv[2] ?? join(root, "runs/tiny-gemma"));
const DOCUMENTS = ["README.md", "docs/performance.md"];
const BLOCK = /(<!-- figures: (\w+) -->\n)[\s\S]*?(<!-- end of figures -->)/g;

const writers = { quickstart, bench };
for (const name of DOCUMENTS) {
  const path = join(root, name);
  const text = readFileSync(path, "utf8");
  const blocks = new Map();
  for (const [, , figures] of text.matchAll(BLOCK)) blocks.set(figures, await writers[figures]?.());
  const written = text.replace(BLOCK, (whole, open, figures, close) => {
    const content = blocks.get(figures);
    if (content === undefined) console.error(`${name}: no source for "${figures}", left as it was`);
    return content === undefined ? whole : `${open}${content}\n${close}`;
  });
  if (written !== text) {
    writeFileSync(path, written);
    console.log(`${name}: figures written`);
  }
}

/** The table that `lapidary run` ends with, and what the run took. */
async function quickstart() {
  if (!existsSync(join(run, "run.json")) || !existsSync(join(root, "dist"))) return undefined;
  const { loadRecipe } = await import("../dist/pipeline/recipe-file.js");
  const { openRun } = await import("../dist/pipeline/run.js");
  const { tableRows } = await import("../dist/pipeline/stages/card.js");
  const { formatBeforeAfterTable } = await import("../dist/evals/table.js");
  const context = await openRun(await loadRecipe(join(run, "recipe.yaml")), { runsFolder: dirname(run) });
  const rows = await tableRows(context);
  const seconds = Object.values(context.state.units).reduce((sum, unit) => sum + unit.seconds, 0);
  const { machine } = JSON.parse(readFileSync(join(run, "run.json"), "utf8"));
  const time = `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s on ${machine.cores} cores (${machine.cpu.trim()})`;
  return `\`\`\`\n${formatBeforeAfterTable(rows, { model: context.modelName })}\n\`\`\`\n\nThat run took ${time}.`;
}

/** One row a size of each bench's newest saved result. */
function bench() {
  const folder = join(root, "bench/results");
  const files = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(".json"))
        .sort()
    : [];
  if (files.length === 0) return undefined;
  const newest = new Map(files.map((name) => [name.replace(/-\d{4}-.*$/, ""), name]));
  const tables = [...newest.values()].map((name) =>
    benchTable(JSON.parse(readFileSync(join(folder, name), "utf8"))),
  );
  return tables.join("\n\n");
}

function benchTable({ bench: name, machine, commit, date, results, baseline }) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const rows = results.map(
    ({ d, F, k, B, tokensPerSecond, shareOfPeak }) =>
      `| ${d} | ${F} | ${k} | ${B} | ${tokensPerSecond.median} (${tokensPerSecond.best}) | ${percent(shareOfPeak.encode)} | ${percent(shareOfPeak.wholeStep)} |`,
  );
  return `\`${name}\`, ${machine.processor}, ${machine.cores} cores, ${date.slice(0, 10)}, commit ${commit}:

| d_in | d_sae | k | batch | tokens/s, median (best) | encode, share of fp32 peak | whole step, as if it were the encode alone |
|---|---|---|---|---|---|---|
${rows.join("\n")}

At d_in ${baseline.d}, d_sae ${baseline.F}, in the same run: ${baseline.ratio} times the ${baseline.name}.`;
}
