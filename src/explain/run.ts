/**
 * Explaining latents, start to end: plan, explain, score, write. Results do not depend on the order in which answers come.
 * What is answered is kept at once (`cache.ts`), so that the same call goes on wherever it was stopped and sends nothing
 * twice.
 */
import type { ExplanationsManifest } from "../dashboard/explanations.ts";
import { parseExplanation, parseVerdicts } from "./answers.ts";
import { Asker, type AskerCounts } from "./asker.ts";
import { Budget } from "./budget.ts";
import { AnswerCache } from "./cache.ts";
import { controlFor } from "./controls.ts";
import { DEFINITIONS } from "./definitions.ts";
import { Endpoint } from "./endpoint.ts";
import { type ExplanationRow, readExplanations, writeExplanations } from "./explanations.ts";
import { inParallel } from "./in-parallel.ts";
import { IndexReader } from "./index-reader.ts";
import { type Case, type ExplainPlan, type JudgeRequest, judgeRequests, type Tested } from "./plan.ts";
import { type Prepared, prepare } from "./prepare.ts";
import { labelDescription, PROMPTS_VERSION } from "./prompts.ts";
import { explainRequest } from "./requests.ts";
import { type Explained, meansOf, rowOf, type Verdicts } from "./rows.ts";
import type { ExplainOptions, Settings } from "./settings.ts";

/** What came of it. */
export interface ExplainSummary {
  readonly manifest: ExplanationsManifest;
  /** of this call's latents; also in explanations.parquet */
  readonly rows: readonly ExplanationRow[];
  readonly counts: AskerCounts;
  /** the cap was reached: with a larger one, the same call goes on */
  readonly isCapped: boolean;
  /** parameters that the endpoint was found not to take, and was asked without */
  readonly askedWithout: readonly string[];
}

/** The plan alone: reads the index, sends nothing, writes nothing. */
export async function planExplain(folder: string, options: ExplainOptions): Promise<ExplainPlan> {
  const reader = await IndexReader.open(folder);
  try {
    return (await prepare(reader, options)).plan;
  } finally {
    reader.close();
  }
}

/**
 * Explains latents of the index in `folder` and scores the explanations. One call at a time on one folder.
 * @throws {EndpointError} the endpoint refuses or does not answer; what was answered is kept
 * @throws {StateError} the folder has explanations of another index
 */
export async function explainLatents(folder: string, options: ExplainOptions): Promise<ExplainSummary> {
  const endpoint = new Endpoint(options.endpoint);
  const reader = await IndexReader.open(folder);
  try {
    await readExplanations(reader, options.overwrite ?? false);
    const prepared = await prepare(reader, options);
    options.onPlan?.(prepared.plan);
    const budget = new Budget(prepared.settings.maxTokensTotal);
    const cache = new AnswerCache(options.cacheFolder ?? `${reader.folder}.answers`);
    const asker = new Asker(endpoint, cache, budget);
    const explained = await explainCases(prepared, asker, options);
    const controls = chooseControls(prepared, explained);
    const judged = await judgeCases(prepared, explained, controls, asker, options);
    const rows = prepared.cases.flatMap((each) => {
      const { latent } = each.subject.facts;
      const found = explained.get(latent);
      const about = { ...prepared.settings, method: prepared.method, control: controls.get(latent) ?? null };
      return found === undefined ? [] : [rowOf(each, found, judged.get(latent) ?? [], about)];
    });
    const manifest = await writeRows(reader, prepared, rows, asker, options);
    const { counts } = asker;
    return { manifest, rows, counts, isCapped: budget.isClosed, askedWithout: endpoint.refused };
  } finally {
    reader.close();
  }
}

/** By latent; one that was left out, since the cap was reached, is not among them. */
async function explainCases(
  { cases, settings }: Prepared,
  asker: Asker,
  { signal, onProgress }: ExplainOptions,
): Promise<ReadonlyMap<number, Explained>> {
  let done = 0;
  const report = () => onProgress?.({ doing: "explain", done, total: cases.length, counts: asker.counts });
  report();
  const found = await inParallel(
    cases,
    settings.concurrency,
    async ({ subject }, signal) => {
      const one = await explainOne({ subject }, settings, asker, signal);
      done++;
      report();
      return one;
    },
    signal,
  );
  return new Map(
    found.flatMap((one, i) => (one === null ? [] : [[cases[i].subject.facts.latent, one] as const])),
  );
}

async function explainOne(
  { subject }: Pick<Case, "subject">,
  settings: Settings,
  asker: Asker,
  signal: AbortSignal,
): Promise<Explained | null> {
  if (subject.shown.length === 0)
    return { explanation: null, failure: "it never fires on the indexed tokens", usage: null };
  const asked = await asker.ask(explainRequest(subject, settings), signal);
  if (asked.kind === "left out") return null;
  if (asked.kind === "failure") return { explanation: null, failure: asked.reason, usage: null };
  const { usage } = asked.answer;
  const parsed = parseExplanation(asked.answer);
  return "value" in parsed
    ? { explanation: parsed.value, failure: null, usage }
    : { explanation: null, failure: parsed.failure, usage };
}

function textsOf(explained: ReadonlyMap<number, Explained>): ReadonlyMap<number, string> {
  const texts = new Map<number, string>();
  for (const [latent, { explanation }] of explained) if (explanation !== null) texts.set(latent, explanation);
  return texts;
}

/** Of each latent that is scored, whose explanation stands beside its own. */
function chooseControls(
  { cases, settings }: Prepared,
  explained: ReadonlyMap<number, Explained>,
): ReadonlyMap<number, number> {
  const texts = textsOf(explained);
  const controls = new Map<number, number>();
  for (const { subject, testSet } of settings.control ? cases : []) {
    const { latent } = subject.facts;
    if (!texts.has(latent) || testSet === null) continue;
    const control = controlFor(latent, texts, subject.near, settings.seed);
    if (control !== null) controls.set(latent, control);
  }
  return controls;
}

/** Verdicts by latent, in the order of the requests. All requests are alike: none waits for others of its latent. */
async function judgeCases(
  { cases, settings }: Prepared,
  explained: ReadonlyMap<number, Explained>,
  controls: ReadonlyMap<number, number>,
  asker: Asker,
  { signal, onProgress }: ExplainOptions,
): Promise<ReadonlyMap<number, readonly Verdicts[]>> {
  const texts = textsOf(explained);
  const requests = cases.flatMap(({ subject, testSet }) => {
    const { latent, label, labelKind } = subject.facts;
    if (!texts.has(latent) || testSet === null || "failure" in testSet) return [];
    const control = controls.get(latent);
    const tested: readonly (readonly [Tested, string | null | undefined])[] = [
      ["explanation", texts.get(latent)],
      ["control", control === undefined ? null : texts.get(control)],
      ["baseline", settings.baseline ? labelDescription(label, labelKind) : null],
    ];
    return tested.flatMap(([tested, text]) =>
      text == null
        ? []
        : judgeRequests(text, testSet.contexts, settings).map((each) => ({ latent, tested, ...each })),
    );
  });
  let done = 0;
  const report = () => onProgress?.({ doing: "score", done, total: requests.length, counts: asker.counts });
  report();
  const judged = await inParallel(
    requests,
    settings.concurrency,
    async (request, signal) => {
      const verdicts = await judgeOne(request, asker, signal);
      done++;
      report();
      return verdicts;
    },
    signal,
  );
  const byLatent = new Map<number, Verdicts[]>();
  for (const each of judged) {
    const others = byLatent.get(each.latent);
    if (others === undefined) byLatent.set(each.latent, [each]);
    else others.push(each);
  }
  return byLatent;
}

async function judgeOne(
  { request, ...about }: JudgeRequest & { readonly latent: number; readonly tested: Tested },
  asker: Asker,
  signal: AbortSignal,
): Promise<Verdicts> {
  const asked = await asker.ask(request, signal);
  if (asked.kind !== "answer")
    return { ...about, verdicts: null, usage: null, isLeftOut: asked.kind === "left out" };
  const parsed = parseVerdicts(asked.answer, about.contexts.length);
  const verdicts = "value" in parsed ? parsed.value : null;
  return { ...about, verdicts, usage: asked.answer.usage, isLeftOut: false };
}

async function writeRows(
  reader: IndexReader,
  { settings, method, cases }: Prepared,
  rows: readonly ExplanationRow[],
  asker: Asker,
  { within }: ExplainOptions,
): Promise<ExplanationsManifest> {
  const { model, judge, maxTokensTotal: _cap, concurrency: _pace, ...recorded } = settings;
  const has = (column: string) => (row: ExplanationRow) => (row[column] ?? null) !== null;
  const isScored = (row: ExplanationRow) => has("detection_accuracy")(row) || has("fuzzing_accuracy")(row);
  return writeExplanations(
    reader,
    rows,
    {
      method,
      model,
      judge: cases.some(({ testSet }) => testSet !== null) ? judge : null,
      promptsVersion: PROMPTS_VERSION,
      options: { ...recorded, contextsEndAt: within === undefined ? "window" : "document" },
      counts: {
        latents: cases.length,
        explained: rows.filter(has("explanation")).length,
        failed: rows.filter(has("failure")).length,
        scored: rows.filter(isScored).length,
        leftOut: cases.length - rows.length,
      },
      tokens: asker.tokens,
      means: meansOf(rows),
    },
    DEFINITIONS,
  );
}
