/** What every number in explanations.parquet means; explanations.json carries it beside them. */
import { SCORERS } from "../dashboard/explanations.ts";
import { BUDGET_DEFINITION } from "./budget.ts";
import { CONTROL_DEFINITION } from "./controls.ts";
import { NEGATIVES_DEFINITION } from "./negatives.ts";
import { MARK_SHARE } from "./prompts.ts";
import { SAMPLE_DEFINITION } from "./sampling.ts";
import { SCORE_DEFINITIONS } from "./scores.ts";

export const DEFINITIONS: Readonly<Record<string, string>> = {
  ...SCORERS,
  shown:
    "The explaining model sees contexts from one half of the latent's documents, over the whole range of its activations, " +
    `tokens with at least ${MARK_SHARE} of the context's largest activation marked.`,
  positives:
    "Held-out contexts in which the latent fires, one a document, weak activations among them. Documents and windows are " +
    "divided before examples are: none of a document or window that was shown is judged. Where windows hold several " +
    "documents, contexts end at their document's edges if options.contextsEndAt is document; if it is window, a context may " +
    "reach into the document beside its own.",
  negatives: NEGATIVES_DEFINITION,
  ...SCORE_DEFINITIONS,
  control: CONTROL_DEFINITION,
  baseline:
    "The same contexts, judged by the latent's baseline label, which was made without a language model.",
  failures:
    "An answer that cannot be read is a failure with its reason. It is in no score and no mean; the numbers of verdicts read " +
    "and not read stand beside the scores.",
  sample: SAMPLE_DEFINITION,
  tokens: BUDGET_DEFINITION,
};
