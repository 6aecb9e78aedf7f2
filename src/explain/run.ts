/**
 * Explaining latents, start to end: choose, plan, explain, score, write. Results do not depend on the order in which answers
 * come. What is answered is kept at once (`cache.ts`), so that the same call goes on wherever it was stopped and sends
 * nothing twice.
 */
import type { ExplanationsManifest } from "../dashboard/explanations.ts";
import { DataError, RecipeError } from "../errors.ts";
import { parseExplanation, parseVerdicts } from "./answers.ts";
import { Asker, type AskerCounts } from "./asker.ts";
import { Budget } from "./budget.ts";
import { AnswerCache } from "./cache.ts";
import { testSetOf } from "./contexts.ts";
import { controlFor } from "./controls.ts";
import { DEFINITIONS } from "./definitions.ts";
import { type ChatAnswer, Endpoint, type EndpointOptions } from "./endpoint.ts";
import type { Example } from "./examples.ts";
import { type ExplanationRow, readExplanations, writeExplanations } from "./explanations.ts";
import { inParallel } from "./in-parallel.ts";
import { IndexReader, type LatentFacts } from "./index-reader.ts";
import { type Case, type ExplainPlan, judgeRequests, planExplaining, type Tested } from "./plan.ts";
import { labelDescription, PROMPTS_VERSION } from "./prompts.ts";
import { explainRequest } from "./requests.ts";
import { type Explained, meansOf, rowOf, type Verdicts } from "./rows.ts";
import { sampleLatents } from "./sampling.ts";
import { pieceOf, type SilenceOf } from "./silence.ts";
import type { WantedSilence } from "./store-silence.ts";
import { loadSubjects } from "./subjects.ts";

/** What may be given; all else has the defaults of {@link DEFAULTS}. */
export interface ExplainOptions extends Partial<ExplainSettings> {
  readonly endpoint: EndpointOptions;
  /** name of the explaining model, as the endpoint knows it */
  readonly model: string;
  /** of the judging one; default: the same */
  readonly judge?: string;
  /** these latents; default: a sample of `sample` */
  readonly latents?: readonly number[];
  /** score so many of them, a sample; default: all of them */
  readonly score?: number;
  /** where answers are kept; default: beside the index, `<folder>.answers` */
  readonly cacheFolder?: string;
  /** replace explanations of an earlier index */
  readonly overwrite?: boolean;
  /** says whether latents fire in examples of others, where the index cannot: `silenceByStores` */
  readonly silence?: (wanted: readonly WantedSilence[]) => Promise<SilenceOf>;
  /** takes other documents' tokens out of contexts, where windows hold several: `withinDocuments` */
  readonly within?: (examples: readonly Example[]) => Promise<Example[]>;
  readonly signal?: AbortSignal;
  /** told before anything is sent */
  readonly onPlan?: (plan: ExplainPlan) => void;
  readonly onProgress?: (progress: ExplainProgress) => void;
}

/** What decides results and costs; recorded, except concurrency and cap. */
export interface ExplainSettings {
  readonly sample: number;
  readonly seed: number;
  /** show the tokens a latent promotes, where the index has them */
  readonly promoted: boolean;
  /** score another latent's explanation, too */
  readonly control: boolean;
  /** score the baseline label, too */
  readonly baseline: boolean;
  readonly nShown: number;
  /** contexts to judge in which it fires, and as many in which not */
  readonly nJudged: number;
  readonly contextsPerRequest: number;
  readonly tokensBefore: number;
  readonly tokensAfter: number;
  readonly temperature: number;
  readonly explainAnswerTokens: number;
  readonly judgeAnswerTokens: number;
  /** requests on their way at once */
  readonly concurrency: number;
  /** cap on what is sent and answered in this call */
  readonly maxTokensTotal: number;
}

export const DEFAULTS: ExplainSettings = {
  sample: 10,
  seed: 0,
  promoted: true,
  control: true,
  baseline: false,
  nShown: 15,
  nJudged: 10,
  contextsPerRequest: 5,
  tokensBefore: 20,
  tokensAfter: 11,
  temperature: 0,
  explainAnswerTokens: 400,
  judgeAnswerTokens: 100,
  concurrency: 8,
  maxTokensTotal: 500_000,
};

/** How far explaining is. */
export interface ExplainProgress {
  readonly doing: "explain" | "score";
  /** requests answered, of all in this part */
  readonly done: number;
  readonly total: number;
  readonly counts: AskerCounts;
}

/** What came of it. */
export interface ExplainSummary {
  readonly manifest: ExplanationsManifest;
  /** of this call's latents; also in explanations.parquet */
  readonly rows: readonly ExplanationRow[];
  readonly counts: AskerCounts;
  /** the cap was reached: with a larger one, the same call goes on */
  readonly isCapped: boolean;
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
 * Explains latents of the index in `folder` and scores the explanations.
 * @throws {EndpointError} the endpoint refuses or does not answer; what was answered is kept
 * @throws {StateError} the folder has explanations of another index
 */
export async function explainLatents(folder: string, options: ExplainOptions): Promise<ExplainSummary> {
  const reader = await IndexReader.open(folder);
  try {
    await readExplanations(reader, options.overwrite ?? false);
    const endpoint = new Endpoint(options.endpoint);
    const prepared = await prepare(reader, options);
    options.onPlan?.(prepared.plan);
    const budget = new Budget(prepared.settings.maxTokensTotal);
    const cache = new AnswerCache(options.cacheFolder ?? `${reader.folder}.answers`);
    return await explainPrepared(reader, prepared, new Asker(endpoint, cache, budget), budget, options);
  } finally {
    reader.close();
  }
}

type Settings = ExplainSettings & { readonly model: string; readonly judge: string };

interface Prepared {
  readonly settings: Settings;
  readonly method: string;
  readonly cases: readonly Case[];
  readonly plan: ExplainPlan;
}

async function prepare(reader: IndexReader, options: ExplainOptions): Promise<Prepared> {
  const settings = settingsOf(options);
  const facts = await reader.facts();
  const latents = chosenLatents(facts, options, settings);
  const nToScore = Math.min(options.score ?? latents.length, latents.length);
  const toScore =
    nToScore === latents.length
      ? latents
      : nToScore === 0
        ? []
        : sampleLatents(
            latents.map((latent) => facts[latent]),
            nToScore,
            settings.seed,
            "score",
          );
  const promoted = settings.promoted && reader.manifest.logits !== null;
  const subjects = await loadSubjects(reader, facts, latents, new Set(toScore), {
    ...settings,
    promoted,
    within: options.within,
  });
  const wanted = subjects.flatMap(({ facts: { latent }, candidates, silence }) =>
    Object.values<readonly Example[]>(candidates ?? {}).flatMap((examples) =>
      examples
        .filter((example) => silence(latent, pieceOf(example)) === "unknown")
        .map((example) => ({ latent, example })),
    ),
  );
  const silence: SilenceOf = (await options.silence?.(wanted)) ?? (() => "unknown");
  const cases = subjects.map(
    (subject): Case => ({
      subject,
      testSet: subject.candidates === null ? null : testSetOf(subject, silence, settings),
    }),
  );
  return {
    settings,
    method: promoted ? "examples+logits" : "examples",
    cases,
    plan: planExplaining(cases, settings),
  };
}

function settingsOf(options: ExplainOptions): Settings {
  const given = Object.fromEntries(
    Object.keys(DEFAULTS).flatMap((key) => {
      const value = options[key as keyof ExplainSettings];
      return value === undefined ? [] : [[key, value]];
    }),
  );
  const settings = { ...DEFAULTS, ...given, model: options.model, judge: options.judge ?? options.model };
  if (settings.model.trim() === "")
    throw new RecipeError("no model was named", "--model NAME, as the endpoint knows it");
  for (const key of ["nShown", "nJudged", "contextsPerRequest", "concurrency", "sample"] as const)
    if (!Number.isInteger(settings[key]) || settings[key] < 1)
      throw new RecipeError(`${key} is ${settings[key]}, a positive whole number is wanted`);
  return settings;
}

/** Ascending, each once. @throws {DataError} one is not of the index */
function chosenLatents(facts: readonly LatentFacts[], options: ExplainOptions, settings: Settings): number[] {
  if (options.latents === undefined) return sampleLatents(facts, settings.sample, settings.seed, "explain");
  const chosen = [...new Set(options.latents)].sort((a, b) => a - b);
  const foreign = chosen.find((latent) => facts[latent] === undefined);
  if (foreign !== undefined)
    throw new DataError(`there is no latent ${foreign}`, {
      hint: `the index has latents 0 to ${facts.length - 1}`,
    });
  return chosen;
}

async function explainPrepared(
  reader: IndexReader,
  { settings, method, cases }: Prepared,
  asker: Asker,
  budget: Budget,
  options: ExplainOptions,
): Promise<ExplainSummary> {
  const { concurrency } = settings;
  const report = (doing: ExplainProgress["doing"], done: number, total: number) =>
    options.onProgress?.({ doing, done, total, counts: asker.counts });

  let nExplained = 0;
  report("explain", 0, cases.length);
  const explained = await inParallel(
    cases,
    concurrency,
    async ({ subject }, signal): Promise<Explained | null> => {
      const found =
        subject.shown.length === 0
          ? { explanation: null, failure: "it never fires on the indexed tokens", usage: null }
          : await explain(asker, explainRequest(subject, settings), signal);
      report("explain", ++nExplained, cases.length);
      return found;
    },
    options.signal,
  );

  const explanations = new Map<number, string>();
  explained.forEach((found, i) => {
    if (found?.explanation) explanations.set(cases[i].subject.facts.latent, found.explanation);
  });
  const controls = new Map<number, number>();
  const asked = cases.flatMap(({ subject, testSet }) => {
    const { latent, label, labelKind } = subject.facts;
    const own = explanations.get(latent);
    if (own === undefined || testSet === null || "failure" in testSet) return [];
    const control = settings.control ? controlFor(latent, explanations, subject.near, settings.seed) : null;
    if (control !== null) controls.set(latent, control);
    const texts: readonly (readonly [Tested, string | null])[] = [
      ["explanation", own],
      ["control", control === null ? null : explanations.get(control)!],
      ["baseline", settings.baseline ? labelDescription(label, labelKind) : null],
    ];
    return texts.flatMap(([tested, text]) =>
      text === null
        ? []
        : judgeRequests(text, testSet.contexts, settings).map((each) => ({ latent, tested, ...each })),
    );
  });
  let nJudged = 0;
  report("score", 0, asked.length);
  const judged = await inParallel(
    asked,
    concurrency,
    async ({ latent, tested, scorer, contexts, request }, signal): Promise<Verdicts> => {
      const answer = await asker.ask(request, signal);
      report("score", ++nJudged, asked.length);
      const about = { latent, tested, scorer, contexts };
      if (answer.kind !== "answer")
        return { ...about, verdicts: null, usage: null, isLeftOut: answer.kind === "left out" };
      const parsed = parseVerdicts(answer.answer, contexts.length);
      const verdicts = "value" in parsed ? parsed.value : null;
      return { ...about, verdicts, usage: answer.answer.usage, isLeftOut: false };
    },
    options.signal,
  );

  const byLatent = new Map<number, Verdicts[]>();
  for (const each of judged) byLatent.set(each.latent, [...(byLatent.get(each.latent) ?? []), each]);
  const rows = cases.flatMap((each, i) => {
    const found = explained[i];
    if (found === null) return [];
    const { latent } = each.subject.facts;
    return [
      rowOf(each, found, byLatent.get(latent) ?? [], {
        ...settings,
        method,
        control: controls.get(latent) ?? null,
      }),
    ];
  });
  const { model, judge, maxTokensTotal: _cap, concurrency: _n, ...recorded } = settings;
  const manifest = await writeExplanations(
    reader,
    rows,
    {
      method,
      model,
      judge: cases.some(({ testSet }) => testSet !== null) ? judge : null,
      promptsVersion: PROMPTS_VERSION,
      options: { ...recorded, contextsEndAt: options.within === undefined ? "window" : "document" },
      counts: {
        latents: cases.length,
        explained: explanations.size,
        failed: rows.filter((row) => row.explanation === null).length,
        scored: rows.filter((row) => (row.detection_accuracy ?? row.fuzzing_accuracy ?? null) !== null)
          .length,
        leftOut: cases.length - rows.length,
      },
      tokens: asker.tokens,
      means: meansOf(rows),
    },
    DEFINITIONS,
  );
  return { manifest, rows, counts: asker.counts, isCapped: budget.isClosed };
}

/** null: left out, since the cap was reached. */
async function explain(
  asker: Asker,
  request: Parameters<Asker["ask"]>[0],
  signal: AbortSignal,
): Promise<Explained | null> {
  const asked = await asker.ask(request, signal);
  if (asked.kind === "left out") return null;
  if (asked.kind === "failure") return { explanation: null, failure: asked.reason, usage: null };
  const { usage }: ChatAnswer = asked.answer;
  const parsed = parseExplanation(asked.answer);
  return "value" in parsed
    ? { explanation: parsed.value, failure: null, usage }
    : { explanation: null, failure: parsed.failure, usage };
}
