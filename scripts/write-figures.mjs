/**
 * Figures in documents come from result files: this writes them between `<!-- figures: NAME -->` and
 * `<!-- end of figures -->` in README.md and docs/PERFORMANCE.md.
 *
 *   node scripts/write-figures.mjs [run folder, default runs/tiny-gemma]
 *
 * NAME quickstart: the before/after table and the time of that run. The other names are benches: the newest results in
 * bench/results/, one row a setting. A block whose source is missing is left as it is, and that is said.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const run = resolve(process.argv[2] ?? join(root, "runs/tiny-gemma"));
const DOCUMENTS = ["README.md", "docs/PERFORMANCE.md"];
const BLOCK = /(<!-- figures: (\w+) -->\n)[\s\S]*?(<!-- end of figures -->)/g;

const grouped = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
const figures3 = (n) => (n >= 100 ? grouped(n) : n.toPrecision(3));
const percent = (share) => (share == null ? "" : `${Math.round(100 * share)} %`);
const gigabytes = (bytes) => (bytes == null ? "" : `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`);
const rate = ({ tokensPerSecond, bestTokensPerSecond }) =>
  `${grouped(tokensPerSecond)} (${grouped(bestTokensPerSecond)})`;

const about = {
  size: ({ size: { name, dIn, dSae, k }, engine, screening }) =>
    [
      /^d\d/.test(name) ? `${dIn}/${dSae}/${k}` : `${name} ${dIn}/${dSae}/${k}`,
      ...(engine === undefined || engine.name === "native" ? [] : [`${engine.name} engine`]),
      ...(screening === undefined ? [] : [`margin ${screening.sigmas ?? screening.margin}`]),
    ].join(", "),
  batch: ({ batchTokens }) => batchTokens,
};
const dense = {
  "times an ideal dense computation": ({ denseEquivalent: { ofFp32Peak } }) =>
    ofFp32Peak && figures3(ofFp32Peak),
};
const screen = { "screen, of int8 peak": ({ screen }) => percent(screen?.ofInt8Peak) };
const memory = { "peak memory": ({ peakMemoryBytes }) => gigabytes(peakMemoryBytes) };
const speed = { "tokens/s, median (best)": rate };

const writers = { quickstart, peaks, train, densetrain, encode, decode, evaluate, index, adam, peers };
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
  const { loadRecipe } = await import("../dist/pipeline/recipe/file.js");
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

/** The newest saved result of everything that was measured under one name and setting, and is to be kept. */
function results(bench, keep = () => true) {
  const folder = join(root, "bench/results");
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
  const newest = new Map();
  for (const name of files) {
    const result = JSON.parse(readFileSync(join(folder, name), "utf8"));
    if (result.bench !== bench || !keep(result)) continue;
    const { size, batchTokens, threads, deadPercent, architecture, selection, screening, engine, machine } =
      result;
    const kind = [threads, deadPercent, architecture, selection, screening, engine?.name, machine.processor];
    const setting = JSON.stringify([size, batchTokens, ...kind]);
    if (!(newest.get(setting)?.date > result.date)) newest.set(setting, result);
  }
  return [...newest.values()].sort(
    (a, b) =>
      (a.size?.dIn ?? 0) * (a.size?.dSae ?? 0) - (b.size?.dIn ?? 0) * (b.size?.dSae ?? 0) ||
      (a.batchTokens ?? 0) - (b.batchTokens ?? 0) ||
      (a.deadPercent ?? 0) - (b.deadPercent ?? 0),
  );
}

/** A table and, below it, where and of what its rows were measured. Without rows: undefined. */
function table(list, columns) {
  if (list.length === 0) return undefined;
  const names = Object.keys(columns);
  const rows = list.map((result) => `| ${names.map((name) => columns[name](result)).join(" | ")} |`);
  const sources = list.map(
    ({ machine, date, commit }) =>
      `${machine.processor}, ${machine.cores} cores, ${date.slice(0, 10)}, commit ${commit}`,
  );
  const heads = `| ${names.join(" | ")} |\n|${names.map(() => "---|").join("")}`;
  return `${heads}\n${rows.join("\n")}\n\n${[...new Set(sources)].join("; ")}.`;
}

function train() {
  const dead = { dead: ({ deadPercent }) => `${deadPercent} %` };
  const list = results("train", ({ architecture }) => architecture === undefined);
  return table(list, { ...about, ...dead, ...speed, ...dense, ...screen, ...memory });
}

/** Training steps of standard, gated and jumprelu SAEs. */
function densetrain() {
  const list = results("train", ({ architecture }) => architecture !== undefined);
  const fire = { fire: ({ l0 }) => figures3(l0) };
  const kind = { architecture: ({ architecture }) => architecture };
  return table(list, { ...kind, ...about, ...fire, ...speed, ...dense, ...memory });
}

function encode() {
  const by = { by: ({ selection }) => selection };
  return table(results("encode"), { ...about, ...by, ...speed, ...dense, ...screen, ...memory });
}

function decode() {
  return table(results("decode"), { ...about, ...speed, ...memory });
}

function evaluate() {
  return table(results("evaluate"), {
    ...about,
    tokens: ({ tokens }) => grouped(tokens),
    ...speed,
    "encoding alone": ({ encodeTokensPerSecond }) => grouped(encodeTokensPerSecond),
    "of that": ({ ofEncode }) => percent(ofEncode),
    ...memory,
  });
}

function index() {
  const share =
    (stage) =>
    ({ stages, cpuSeconds }) =>
      percent(stages[stage].cpuSeconds / cpuSeconds);
  return table(results("index"), {
    ...about,
    tokens: ({ tokens }) => grouped(tokens),
    "a latent": ({ tokens, size }) => figures3(tokens / size.dSae),
    "tokens/s": ({ tokensPerSecond }) => grouped(tokensPerSecond),
    "encoding alone": ({ encoding }) => grouped(encoding.tokensPerSecond),
    "time, of encoding alone": ({ timesEncode }) => `${timesEncode.toFixed(2)} ×`,
    "processor time": ({ cpuTimesEncode }) => `${cpuTimesEncode.toFixed(2)} ×`,
    encode: share("encode"),
    latents: share("latents"),
    tables: share("tables"),
    "a page, at most": ({ pageBytes }) => `${Math.round(pageBytes.most / 1e3)} kB`,
    "footers, once": ({ footerBytes }) => `${Math.round(footerBytes / 1e3)} kB`,
    disk: ({ indexBytes }) => `${Math.round(indexBytes / 1e6)} MB`,
    ...memory,
    planned: ({ plannedBytes }) => gigabytes(plannedBytes),
  });
}

function adam() {
  return table(results("adam"), {
    ...about,
    "update, ms": ({ updateSeconds }) => figures3(1e3 * updateSeconds),
    "GB/s": ({ gbPerSecond }) => figures3(gbPerSecond),
    "of what memory gives": ({ ofMemoryPeak }) => percent(ofMemoryPeak),
  });
}

function peaks() {
  return table(
    results("peaks").filter((result) => result.peaks !== null),
    {
      threads: ({ threads }) => threads,
      "fp32, GFLOP/s": ({ peaks }) => figures3(peaks.fp32),
      "int8, Gop/s": ({ peaks }) => figures3(peaks.int8),
      "memory, GB/s": ({ peaks }) => figures3(peaks.memory),
    },
  );
}

function peers() {
  const side = (name) => (result) => `${rate(result[name])}, ${gigabytes(result[name].peakMemoryBytes)}`;
  const columns = {
    what: ({ bench, deadPercent }) =>
      bench === "peers-train" ? `training step, ${deadPercent} % dead` : "JumpReLU encode",
    ...about,
    "SAELens, tokens/s, median (best), memory": side("theirs"),
    "Lapidary, the same": side("ours"),
    "ratio of medians": ({ ratio }) => figures3(ratio.ofMedians),
    "in single rounds": ({ ratio }) =>
      `${figures3(Math.min(...ratio.ofRounds))} to ${figures3(Math.max(...ratio.ofRounds))}`,
    ...dense,
  };
  const list = [...results("peers-train"), ...results("peers-encode")];
  const versions = list.map(({ theirs }) => `SAELens ${theirs.saeLens}, torch ${theirs.torch}`);
  const written = table(list, columns);
  return written && `${written} ${[...new Set(versions)].join("; ")}.`;
}
