/** The card's results: before and after, every metric, other texts, what hangs on few tokens, predictions. */
import { formatBeforeAfterMarkdown, type SetScore } from "../../evals/table.ts";
import type { CardEvaluation, CardFacts, CardLayer } from "./facts.ts";
import { code, joined, number, packingText, percent, plural, signed, table, thousands } from "./text.ts";

export function results(facts: CardFacts): string {
  return joined([
    formatBeforeAfterMarkdown(facts.rows, { model: code(facts.model) }),
    gateNote(facts),
    sets(facts),
    domains(facts),
  ]);
}

function gateNote({ layers, gate }: CardFacts): string {
  const below = layers.filter(({ belowGate }) => belowGate);
  if (gate === null) return "";
  if (below.length === 0) return `Gate: VE ≥ ${gate} on every held-out set, reached by every layer.`;
  const are = below.length > 1;
  return `**Below the gate.** The recipe asks for VE ≥ ${gate} on every set; layer${are ? "s" : ""} ${below.map(({ layer }) => layer).join(", ")} did not reach it. Treat ${are ? "them" : "it"} as unfinished.`;
}

function sets({ sets: all, isImported, evalPacking }: CardFacts): string {
  const claim = isImported
    ? "Held-out sets, of activations made elsewhere:"
    : `Held-out sets, disjoint from the training documents, windows with ${packingText(evalPacking)}:`;
  const lines = all.map(
    ({ name, nKept, nDocuments, sources }) =>
      `- **${name}**: ${thousands(nKept)} tokens, ${plural(nDocuments, "document")}${sources.length === 0 ? "" : `, of ${sources.map(code).join(", ")}`}`,
  );
  return `${claim}\n\n${lines.join("\n")}`;
}

function domains({ domains: rows }: CardFacts): string {
  if (rows.length === 0) return "";
  const score = ({ ve, l0 }: SetScore) => `${ve?.toFixed(3) ?? "undefined"} (${l0?.toFixed(1) ?? "–"})`;
  const lines = rows.map(({ layer, domain, before, after, contextSize, nTokens }) => [
    String(layer),
    domain,
    before === null ? "–" : score(before),
    score(after),
    thousands(nTokens),
    thousands(contextSize),
  ]);
  const from = new Map(rows.map(({ domain, sources }) => [domain, sources]));
  const origins = [...from]
    .filter(([, sources]) => sources.length > 0)
    .map(([domain, sources]) => `- **${domain}**: ${sources.map(code).join(", ")}`);
  return joined([
    "On texts unlike those of the training (not part of the gate), VE (L0):",
    table(["layer", "domain", "before", "after", "tokens", "context"], lines),
    origins.join("\n"),
  ]);
}

/** Every metric of every layer and set, with its change or its interval; then what each means. */
export function everyMetric({ layers, definitions, intervals }: CardFacts): string {
  const names = Object.keys(definitions);
  const tables = layers.map(({ layer, evaluations }) => {
    const rows = names.map((name) => [name, ...evaluations.map(({ metrics }) => cell(metrics[name]))]);
    return `Layer ${layer}:\n\n${table(["metric", ...evaluations.map(({ set }) => set)], rows)}`;
  });
  const changed = layers.some(({ evaluations }) => evaluations.some(hasBefore));
  const how = [
    changed ? "Before → after, and in brackets the interval of the change" : "In brackets the interval",
    intervals === null ? "" : ` (${percent(intervals.level).replace(".0", "")})`,
    changed ? ", the same documents drawn for both." : ".",
    intervals === null ? "" : ` Intervals: ${intervals.definition}`,
  ];
  const meanings = names.map((name) => `- **${name}**: ${definitions[name]}`);
  return joined([how.join(""), ...tables, meanings.join("\n")]);
}

function hasBefore({ metrics }: CardEvaluation): boolean {
  return Object.values(metrics).some(({ before }) => before !== null);
}

function cell(metric: CardEvaluation["metrics"][string] | undefined): string {
  if (metric === undefined) return "–";
  const { value, interval, before, change } = metric;
  if (before !== null && before === value) return number(value);
  if (change !== null && before !== null) {
    const spread = change.interval;
    const around = spread === null ? "" : ` [${signed(spread.low)}, ${signed(spread.high)}]`;
    return `${number(before)} → ${number(value)}${around}`;
  }
  return interval === null
    ? number(value)
    : `${number(value)} [${number(interval.low)}, ${number(interval.high)}]`;
}

/** What a single VE hides: few tokens that carry much of the error, and where in the window it is made. */
export function caveats({ layers, intervals }: CardFacts): string {
  return joined([
    "VE is pooled over tokens: those far from the mean weigh most, and a few of them can decide it, for better or worse. So the tokens with the largest squared error, and those of the largest norm, are left out here, and VE taken again about the mean of the rest.",
    outliers(layers),
    positions(layers),
    smallSets(layers, intervals !== null),
    "SAELens' own `explained_variance` is another quantity (it is not about the mean); the result files hold it under that name, beside SAEBench's.",
  ]);
}

const LEFT_OUT = [0.001, 0.01];

function outliers(layers: readonly CardLayer[]): string {
  const rows = layers.flatMap(({ layer, evaluations }) =>
    evaluations.flatMap(({ set, metrics, outliers: found }) => {
      if (found === null) return [];
      const shares = LEFT_OUT.map((share) => found.shares.find((each) => each.share === share));
      const ve = (value: number | null | undefined) => value?.toFixed(3) ?? "–";
      return [
        [
          String(layer),
          set,
          ve(metrics.ve?.value),
          ...shares.flatMap((each) => [
            ve(each?.veWithout),
            each === undefined ? "–" : percent(each.sseShare),
            ve(each?.veWithoutByNorm),
          ]),
          found.worst.length === 0
            ? "–"
            : `${Math.max(...found.worst.map(({ normRatio }) => normRatio)).toFixed(1)} ×`,
        ],
      ];
    }),
  );
  if (rows.length === 0) return "";
  const headings = ["worst 0.1 % of tokens", "worst 1 %"].flatMap((what, i) => [
    `VE without the ${what}`,
    "their share of the error",
    `VE without the ${["0.1 %", "1 %"][i]} of largest norm`,
  ]);
  return table(
    ["layer", "set", "VE", ...headings, "largest norm among the worst tokens, over the median"],
    rows,
  );
}

function positions(layers: readonly CardLayer[]): string {
  const measured = layers.flatMap(({ layer, evaluations }) =>
    evaluations
      .filter(({ positions: slices }) => slices.length > 1)
      .map(({ set, positions: slices }) => ({ layer, set, slices })),
  );
  if (measured.length === 0) return "";
  const names = [...new Set(measured.flatMap(({ slices }) => slices.map(({ name }) => name)))];
  const rows = measured.map(({ layer, set, slices }) => [
    String(layer),
    set,
    ...names.map((name) => slices.find((slice) => slice.name === name)?.ve?.toFixed(3) ?? "–"),
  ]);
  return joined([
    "VE by position in the window (about the mean of the tokens at these positions):",
    table(["layer", "set", ...names], rows),
  ]);
}

/** Fewer documents than this say little of the next one. */
const FEW_DOCUMENTS = 30;

function smallSets(layers: readonly CardLayer[], haveIntervals: boolean): string {
  const few = new Map(
    layers
      .flatMap(({ evaluations }) => evaluations)
      .filter(({ nDocuments }) => nDocuments < FEW_DOCUMENTS)
      .map(({ set, nDocuments }) => [set, nDocuments]),
  );
  if (few.size === 0) return "";
  const list = [...few].map(([set, n]) => `${code(set)} (${n})`).join(", ");
  return `Of few documents: ${list}. ${haveIntervals ? "Intervals drawn from so few are rough; a" : "A"}nother sample may differ by more.`;
}

/** What the reconstructions do to the model's predictions. */
export function spliced({ splices, layers }: CardFacts): string {
  const after = splices.filter(({ phase }) => phase === "after").map(({ result }) => result);
  const before = splices.filter(({ phase }) => phase === "before").map(({ result }) => result);
  const shown = after.length > 0 ? after : before;
  if (shown.length === 0) return "";
  const both = after.length > 0 && before.length > 0;
  const names = ["ceSpliced", "klSpliced", "ceScore", "ceScoreMean"] as const;
  const rows = shown.map((result) => {
    const { set, layers: replaced, metrics, nTokens } = result;
    const old = both
      ? before.find((other) => other.set === set && String(other.layers) === String(replaced))
      : undefined;
    return [
      replaced.length > 1 && replaced.length === layers.length ? "all at once" : replaced.join(", "),
      set,
      thousands(nTokens),
      number(metrics.ceClean.value),
      ...names.map((name) => {
        const { value, interval } = metrics[name];
        const spread = interval === null ? "" : ` [${number(interval.low)}, ${number(interval.high)}]`;
        const was = old === undefined ? "" : `${number(old.metrics[name].value)} → `;
        return `${was}${number(value)}${spread}`;
      }),
    ];
  });
  const headings = [
    "CE, clean",
    "CE, spliced",
    "KL",
    "CE recovered, of zero ablation",
    "CE recovered, of mean ablation",
  ];
  const { metrics } = shown[0];
  const meanings = (["ceClean", ...names] as const).map(
    (name, i) => `- **${headings[i]}** (\`${name}\`): ${metrics[name].definition}`,
  );
  return joined([
    `The reconstruction in the residual stream's place, the rest of the model unchanged${both ? "; before → after" : after.length > 0 ? "" : "; the source SAEs, before training"}. In nats a token, intervals in brackets:`,
    table(["layers", "set", "tokens", ...headings], rows),
    meanings.join("\n"),
  ]);
}
