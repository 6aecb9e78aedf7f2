/** `lapidary explain <run|index>`: texts that say what latents fire on, by a language model, and how well they predict it. */
import { basename, dirname, join, relative } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { RecipeError } from "../../errors.ts";
import type { ExplainPlan } from "../../explain/plan.ts";
import type { ExplainSummary } from "../../explain/run.ts";
import type { ExplainOptions, ExplainProgress } from "../../explain/settings.ts";
import type { Progress } from "../../pipeline/context.ts";
import { findIndex } from "../../pipeline/indexing/find-index.ts";
import {
  addCommonOptions,
  addIndexChoice,
  type CommonOptions,
  type IndexChoice,
  interruptSignal,
  positiveInteger,
  wholeNumber,
} from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { findRun } from "./verify.ts";

interface ExplainCommandOptions extends CommonOptions, IndexChoice {
  readonly endpoint?: string;
  readonly model?: string;
  readonly judge?: string;
  readonly latents?: number[];
  readonly sample?: number;
  readonly score?: number;
  readonly baseline?: boolean;
  readonly control: boolean;
  readonly logits: boolean;
  readonly shown?: number;
  readonly judged?: number;
  readonly answerTokens?: number;
  readonly seed?: number;
  readonly concurrency?: number;
  readonly maxTokensTotal?: number;
  readonly timeout?: number;
  readonly insecure?: boolean;
  readonly overwrite?: boolean;
  readonly dryRun?: boolean;
}

export function addExplainCommand(program: Command): void {
  addIndexChoice(addCommonOptions(program.command("explain")))
    .description(
      "explain latents with a language model behind any OpenAI-compatible endpoint, and score that",
    )
    .option(
      "--endpoint <url>",
      "base address, e.g. http://127.0.0.1:8000/v1: texts are sent there, nowhere else",
    )
    .option("--model <name>", "explaining model, as the endpoint names it")
    .option("--judge <name>", "judging model (default: the same)")
    .option("--latents <list>", "these latents, e.g. 1,2,5-9", latentList)
    .option(
      "--sample <n>",
      "a sample of so many, spread over levels and densities (default: 10)",
      positiveInteger,
    )
    .option("--score <n>", "score so many of them, a sample; 0: none (default: all)", wholeNumber)
    .option("--baseline", "score the labels made without a language model, too")
    .option("--no-control", "do not score other latents' explanations beside each latent's own")
    .option("--no-logits", "do not show which tokens a latent promotes")
    .option("--shown <n>", "examples that the model is shown, at most (default: 15)", positiveInteger)
    .option(
      "--judged <n>",
      "contexts to judge where it fires, and as many where not (default: 10)",
      positiveInteger,
    )
    .option(
      "--answer-tokens <n>",
      "longest answer; models that think first need more (default: 400 and 100)",
      positiveInteger,
    )
    .option("--seed <n>", "of every draw (default: 0)", wholeNumber)
    .option("--concurrency <n>", "requests on their way at once (default: 8)", positiveInteger)
    .option(
      "--max-tokens-total <n>",
      "send no more than this, prompts and answers (default: 500 000)",
      positiveInteger,
    )
    .option("--timeout <seconds>", "of one request (default: 120)", positiveInteger)
    .option("--insecure", "allow plain http to another machine")
    .option("--overwrite", "replace explanations of an earlier index")
    .option("--dry-run", "print the plan and two prompts in full; send nothing")
    .addHelpText(
      "after",
      `
The key comes from LAPIDARY_EXPLAIN_KEY, else OPENAI_API_KEY; a local server needs none. Excerpts of the indexed texts are
sent (docs/EXPLAIN.md says which). What is answered is kept beside the index: the same command sends nothing twice.

Examples:
  $ lapidary explain runs/tiny-gemma --layer 4 --dry-run
  $ lapidary explain runs/tiny-gemma --layer 4 --endpoint http://127.0.0.1:8000/v1 --model gemma --latents 12,40-49
  $ lapidary explain <index> --endpoint https://api.example.com/v1 --model small --sample 200 --score 50 --baseline --max-tokens-total 3000000`,
    )
    .action(explain);
}

async function explain(what: string, options: ExplainCommandOptions): Promise<void> {
  const output = createOutput(options);
  const { planText, promptsText, summaryText } = await import("../explain-text.ts");
  const wanted = await explainOptions(options);
  const explained = await openExplained(await findIndex(what, options), output);
  try {
    if (options.dryRun) {
      const plan = await explained.plan(wanted);
      output.result(`${planText(plan)}\nNothing is sent.\n\n${promptsText(plan.samples)}`, plan);
      return;
    }
    const { folder, ...summary } = await explained.explain({
      ...wanted,
      signal: interruptSignal(),
      onPlan: (plan) => output.event({ kind: "note", message: planText(plan) }),
      onProgress: progressTo(output),
    });
    const { manifest, ...rest } = summary;
    const path = relative(".", folder) || ".";
    output.result(summaryText(summary, path), { folder: path, file: manifest.file, ...rest });
  } finally {
    output.clear();
  }
}

interface Explained {
  plan(options: ExplainOptions): Promise<ExplainPlan>;
  explain(options: ExplainOptions): Promise<ExplainSummary & { readonly folder: string }>;
}

/** The index in `dir`: of a run, whose activations can be asked, or by itself. */
async function openExplained(dir: string, output: Output): Promise<Explained> {
  const run = await findRun(dir).catch(() => null);
  if (run === null) {
    const { planExplain } = await import("../../explain/run.ts");
    const { explainIndex } = await import("../../pipeline/explaining/explain-index.ts");
    return {
      plan: (wanted) => planExplain(dir, wanted),
      explain: async (wanted) => ({ ...(await explainIndex(dir, wanted)), folder: dir }),
    };
  }
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { explainRun, planExplainRun } = await import("../../pipeline/explaining/explain-run.ts");
  const loaded = await loadRecipe(join(run, "recipe.yaml"), [`name=${JSON.stringify(basename(run))}`]);
  output.event({
    kind: "begin",
    unit: "encode",
    title: "look for contexts where latents are silent",
    resumed: false,
  });
  const whichever = {
    folder: dir,
    onEncode: (progress: Progress) => output.event({ kind: "progress", unit: "encode", progress }),
  };
  return {
    plan: (wanted) => planExplainRun(loaded, dirname(run), { ...wanted, ...whichever }),
    explain: (wanted) => explainRun(loaded, dirname(run), { ...wanted, ...whichever }),
  };
}

/** @throws {RecipeError} endpoint or model are missing, or two options contradict each other */
async function explainOptions(options: ExplainCommandOptions): Promise<ExplainOptions> {
  const { keyFromEnvironment } = await import("../../explain/endpoint.ts");
  if (options.latents !== undefined && options.sample !== undefined)
    throw new RecipeError("--latents and --sample were both given", "name latents, or let them be drawn");
  if (!options.dryRun && options.endpoint === undefined)
    throw new RecipeError(
      "where is the language model?",
      "--endpoint URL --model NAME, or --dry-run to see prompts",
    );
  if (!options.dryRun && options.model === undefined)
    throw new RecipeError("which model?", "--model NAME, as the endpoint knows it");
  return {
    endpoint: {
      url: options.endpoint ?? "",
      key: keyFromEnvironment,
      insecure: options.insecure,
      timeoutMs: options.timeout === undefined ? undefined : 1000 * options.timeout,
    },
    model: options.model ?? "(model)",
    judge: options.judge,
    latents: options.latents,
    sample: options.sample,
    score: options.score,
    baseline: options.baseline,
    control: options.control,
    promoted: options.logits,
    nShown: options.shown,
    nJudged: options.judged,
    explainAnswerTokens: options.answerTokens,
    judgeAnswerTokens: options.answerTokens,
    seed: options.seed,
    concurrency: options.concurrency,
    maxTokensTotal: options.maxTokensTotal,
    overwrite: options.overwrite,
  };
}

function progressTo(output: Output): (progress: ExplainProgress) => void {
  let doing = "";
  return (progress) => {
    const { done, total, counts } = progress;
    if (progress.doing !== doing) {
      doing = progress.doing;
      output.event({ kind: "begin", unit: doing, title: doing, resumed: false });
    }
    output.event({
      kind: "progress",
      unit: doing,
      progress: {
        done,
        total,
        unit: "requests",
        details: { tokens: counts.spentTokens, failed: counts.failed },
      },
    });
  };
}

/** Longest list of latents that is taken. */
const MAX_LATENTS = 1_000_000;

/** "1,2,5-9": ranges include both ends. */
function latentList(text: string): number[] {
  const latents: number[] = [];
  for (const part of text.split(",")) {
    const [from, to] = part.split("-").map(wholeNumber);
    if (part.split("-").length > 2 || (to ?? from) < from)
      throw new InvalidArgumentError(`${JSON.stringify(part)} is no latent and no range such as 5-9`);
    if (latents.length + (to ?? from) - from >= MAX_LATENTS)
      throw new InvalidArgumentError(`more than ${MAX_LATENTS} latents`);
    for (let latent = from; latent <= (to ?? from); latent++) latents.push(latent);
  }
  return latents;
}
