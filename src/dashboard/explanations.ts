/**
 * What `lapidary explain` leaves in an index folder: `explanations.parquet`, one row a (latent, method, model), and
 * `explanations.json`, which says what its numbers mean and what it took. The one place where both are said. Safe in a
 * browser; nothing is read or written here.
 */
import type { Column, Table } from "./tables.ts";

export const EXPLANATIONS_FILE = "explanations.parquet";
export const EXPLANATIONS_MANIFEST = "explanations.json";

/** How explanations are tested: see {@link SCORERS}. */
export type ScorerName = "detection" | "fuzzing";

/** What a judge is asked. Definitions stand in explanations.json beside the numbers. */
export const SCORERS: Readonly<Record<ScorerName, string>> = {
  detection:
    "Held-out contexts in which the latent fires, and contexts in which it does not, as plain text: the judge says of each " +
    "whether it fits the text under test.",
  fuzzing:
    "The same contexts with tokens marked: where it fires, those with at least 0.3 of the context's largest activation; " +
    "where it does not, as many tokens drawn at random. The judge says whether what is marked fits the text under test.",
};

const score = (name: string, meaning: string): Column => ({ name, type: "FLOAT", nullable: true, meaning });

/** Columns of one scorer; `null` wherever there is nothing to say, never a stand-in. */
function scorerColumns(scorer: ScorerName): Column[] {
  return [
    score(
      `${scorer}_accuracy`,
      "balanced accuracy of the explanation: mean of the shares judged right among contexts where the latent fires, and where not; 0.5 is chance",
    ),
    score(`${scorer}_low`, "lower end of its 95 % interval: bootstrap over contexts, each kind by itself"),
    score(`${scorer}_high`, "upper end"),
    score(`${scorer}_f1`, "F1 of the judge's yes"),
    score(
      `${scorer}_auc`,
      "area under the ROC curve of P(1) / (P(0) + P(1)) from the answers' log-probabilities; null: not offered",
    ),
    {
      name: `${scorer}_judged`,
      type: "UINTEGER",
      nullable: true,
      meaning: "contexts judged; null: not scored",
    },
    {
      name: `${scorer}_failed`,
      type: "UINTEGER",
      nullable: true,
      meaning: "contexts asked about without an answer that could be read; they count in no score",
    },
    score(
      `${scorer}_control`,
      "balanced accuracy of another latent's explanation on the same contexts; what chance looks like",
    ),
    score(`${scorer}_control_auc`, "its area under the ROC curve"),
    score(`${scorer}_baseline`, "balanced accuracy of the latent's baseline label on the same contexts"),
    score(`${scorer}_baseline_auc`, "its area under the ROC curve"),
  ];
}

/** Sorted by latent, then method, then model. */
export const EXPLANATIONS = {
  file: EXPLANATIONS_FILE,
  row: "an explanation of a latent, or why there is none: one a method and model",
  columns: [
    { name: "latent", type: "UINTEGER", meaning: "the latent, 0 … dSae − 1" },
    {
      name: "method",
      type: "VARCHAR",
      meaning: "what the model was shown: examples, or examples+logits (the tokens it promotes, too)",
    },
    {
      name: "model",
      type: "VARCHAR",
      meaning: "the explaining model's name, as the endpoint was asked for it",
    },
    { name: "judge", type: "VARCHAR", nullable: true, meaning: "the judging model; null: not scored" },
    { name: "explanation", type: "VARCHAR", nullable: true, meaning: "its text; null: there is none" },
    { name: "failure", type: "VARCHAR", nullable: true, meaning: "why there is no explanation" },
    {
      name: "score_failure",
      type: "VARCHAR",
      nullable: true,
      meaning: "why there is an explanation but no score, though one was asked for",
    },
    { name: "n_shown", type: "UINTEGER", meaning: "examples that the explaining model was shown" },
    {
      name: "n_positives",
      type: "UINTEGER",
      nullable: true,
      meaning:
        "contexts to judge in which the latent fires, none of a document or window that was shown; null: not scored",
    },
    {
      name: "n_negatives",
      type: "UINTEGER",
      nullable: true,
      meaning: "contexts to judge in which it does not fire; null: not scored",
    },
    {
      name: "n_hard_negatives",
      type: "UINTEGER",
      nullable: true,
      meaning: "of them, contexts in which a latent near by decoder row fires",
    },
    {
      name: "n_matched_negatives",
      type: "UINTEGER",
      nullable: true,
      meaning: "of them, contexts around a token on which the latent fires elsewhere",
    },
    score(
      "negative_error",
      "expected share of the negatives in which the latent fires after all; 0: all are proved not to",
    ),
    {
      name: "control_latent",
      type: "UINTEGER",
      nullable: true,
      meaning: "whose explanation served as control; null: none",
    },
    ...scorerColumns("detection"),
    ...scorerColumns("fuzzing"),
    {
      name: "explain_prompt_tokens",
      type: "UINTEGER",
      nullable: true,
      meaning: "tokens of the explaining request, as the endpoint counts; null: it does not say",
    },
    {
      name: "explain_answer_tokens",
      type: "UINTEGER",
      nullable: true,
      meaning: "tokens of its answer",
    },
    {
      name: "score_prompt_tokens",
      type: "UINTEGER",
      nullable: true,
      meaning: "tokens of all judging requests of this row, control and baseline included",
    },
    { name: "score_answer_tokens", type: "UINTEGER", nullable: true, meaning: "tokens of their answers" },
  ],
} as const satisfies Table;

/** `explanations.json`. */
export interface ExplanationsManifest {
  readonly format: "lapidary-explanations";
  readonly version: 1;
  /** sha-256 of the index.json these rows are about */
  readonly index: string;
  readonly file: {
    readonly name: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly nRows: number;
  };
  /** what each number means */
  readonly definitions: Readonly<Record<string, string>>;
  /** one a (method, model) in the file: how it was made, last time it was */
  readonly runs: readonly ExplanationsRun[];
}

/** How the rows of one (method, model) were made, and what they come to. */
export interface ExplanationsRun {
  readonly method: string;
  readonly model: string;
  readonly judge: string | null;
  /** of the wording of the prompts */
  readonly promptsVersion: number;
  readonly options: Readonly<Record<string, unknown>>;
  readonly counts: {
    /** latents asked for */
    readonly latents: number;
    readonly explained: number;
    readonly failed: number;
    readonly scored: number;
    /** asked for and not reached, since the cap on tokens was */
    readonly leftOut: number;
  };
  /** of all answers these rows rest on, as the endpoint counts, whenever they were given; null: it does not say */
  readonly tokens: { readonly prompt: number | null; readonly answer: number | null };
  /** means over the latents that have the number; null: none has */
  readonly means: Readonly<Record<string, number | null>>;
}
