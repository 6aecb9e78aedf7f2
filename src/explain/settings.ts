/** What may be asked of explaining, and what it is by default. */
import { RecipeError } from "../errors.ts";
import type { AskerCounts } from "./asker.ts";
import type { EndpointOptions } from "./endpoint.ts";
import type { Example } from "./examples.ts";
import type { ExplainPlan } from "./plan.ts";
import type { SilenceOf } from "./silence.ts";
import type { WantedSilence } from "./store-silence.ts";

/** What may be given; settings that are left out have their defaults. */
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
  /** examples that the model is shown, at most */
  readonly nShown: number;
  /** contexts to judge in which it fires, and as many in which not */
  readonly nJudged: number;
  readonly contextsPerRequest: number;
  /** of a context, around the example's own token */
  readonly tokensBefore: number;
  readonly tokensAfter: number;
  /** of the explaining model; the judge's is 0 */
  readonly temperature: number;
  /** longest answers */
  readonly explainAnswerTokens: number;
  readonly judgeAnswerTokens: number;
  /** requests on their way at once */
  readonly concurrency: number;
  /** cap on what is sent and answered in this call */
  readonly maxTokensTotal: number;
}

const DEFAULTS: ExplainSettings = {
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

/** Settings with both models named. */
export type Settings = ExplainSettings & { readonly model: string; readonly judge: string };

/** @throws {RecipeError} no model, or a number that cannot be meant */
export function settingsOf(options: ExplainOptions): Settings {
  const given = Object.fromEntries(
    Object.keys(DEFAULTS).flatMap((key) => {
      const value = options[key as keyof ExplainSettings];
      return value === undefined ? [] : [[key, value]];
    }),
  );
  const settings = { ...DEFAULTS, ...given, model: options.model, judge: options.judge ?? options.model };
  if (settings.model.trim() === "" || settings.judge.trim() === "")
    throw new RecipeError("no model was named", "--model NAME, as the endpoint knows it");
  for (const [key, value] of Object.entries(settings)) {
    if (typeof value !== "number") continue;
    const mayBeZero = ["seed", "tokensBefore", "tokensAfter", "temperature", "maxTokensTotal"].includes(key);
    if (!(value >= (mayBeZero ? 0 : 1)) || !(Number.isInteger(value) || key === "temperature"))
      throw new RecipeError(`${key} is ${value}, a ${mayBeZero ? "" : "positive "}whole number is wanted`);
  }
  return settings;
}
