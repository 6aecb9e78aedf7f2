/**
 * The metrics of splicing: each a function of sums over tokens, kept by document. Cross-entropy is of the next token, at
 * kept positions that a real token follows; KL of the clean model's prediction from the changed one's, at kept positions.
 */
import { draws, intervalMethod, percentileInterval } from "../bootstrap.ts";
import { type Metric, ratio } from "../metrics.ts";
import type { IntervalMethod } from "../result.ts";
import type { SaelensSpliceMetrics, SpliceMetrics } from "./result.ts";

/** What takes the place of the stream. "zeroEverywhere": zeros at excluded positions too, as SAELens ablates. */
export type SpliceRun = "spliced" | "zero" | "mean" | "zeroEverywhere";

/** Sums over tokens. ce, kl: of a run; NaN for runs that were not made. */
export interface SpliceTotals {
  /** kept positions */
  readonly nKept: number;
  /** of them, those that a real token follows */
  readonly nNext: number;
  readonly ceClean: number;
  ce(run: SpliceRun): number;
  kl(run: SpliceRun): number;
}

interface SpliceMetric {
  readonly definition: string;
  readonly unit: string;
  readonly of: (sums: SpliceTotals) => number | null;
  readonly n: "nKept" | "nNext";
}

const NATS = "nats per token";
const cleanCe = (sums: SpliceTotals) => ratio(sums.ceClean, sums.nNext);
const ce = (run: SpliceRun, definition: string): SpliceMetric => ({
  definition,
  unit: NATS,
  of: (sums) => ratio(sums.ce(run), sums.nNext),
  n: "nNext",
});
const kl = (run: SpliceRun, definition: string): SpliceMetric => ({
  definition,
  unit: NATS,
  of: (sums) => ratio(sums.kl(run), sums.nKept),
  n: "nKept",
});
const ceScore = (against: SpliceRun, definition: string): SpliceMetric => ({
  definition,
  unit: "1",
  of: (sums) => ratio(sums.ce(against) - sums.ce("spliced"), sums.ce(against) - sums.ceClean),
  n: "nNext",
});
const klScore = (against: SpliceRun, definition: string): SpliceMetric => ({
  definition,
  unit: "1",
  of: (sums) => ratio(sums.kl(against) - sums.kl("spliced"), sums.kl(against)),
  n: "nKept",
});
const OVER = "mean over kept tokens that a real token follows";

/** In the order in which reports show them. */
export const SPLICE_METRICS: Readonly<Record<keyof SpliceMetrics, SpliceMetric>> = {
  ceClean: {
    definition: `Next-token cross-entropy of the model as it is, ${OVER}.`,
    unit: NATS,
    of: cleanCe,
    n: "nNext",
  },
  ceSpliced: ce(
    "spliced",
    `Next-token cross-entropy with the SAE's reconstruction in the place of the residual stream at kept tokens, ${OVER}.`,
  ),
  ceZero: ce("zero", `Next-token cross-entropy with zeros in its place at kept tokens, ${OVER}.`),
  ceMean: ce(
    "mean",
    `Next-token cross-entropy with the mean activation of the kept tokens in its place, ${OVER}.`,
  ),
  klSpliced: kl("spliced", "KL(clean ‖ spliced) of the next-token distributions, mean over kept tokens."),
  klZero: kl("zero", "KL(clean ‖ zeros at kept tokens), mean over kept tokens."),
  klMean: kl("mean", "KL(clean ‖ mean activation at kept tokens), mean over kept tokens."),
  ceScore: ceScore(
    "zero",
    "(ceZero − ceSpliced) / (ceZero − ceClean): 1 as good as the clean model, 0 no better than zeros.",
  ),
  klScore: klScore(
    "zero",
    "(klZero − klSpliced) / klZero: 1 predicts as the clean model does, 0 no nearer to it than zeros.",
  ),
  ceScoreMean: ceScore(
    "mean",
    "(ceMean − ceSpliced) / (ceMean − ceClean): the CE score against mean ablation.",
  ),
  klScoreMean: klScore("mean", "(klMean − klSpliced) / klMean: the KL score against mean ablation."),
};

const NOT_REPEATED =
  "Where SAELens itself scales activations before the SAE, it writes scaled ones back at excluded tokens; that defect is not repeated.";
const EVERYWHERE = "with zeros at all positions, excluded ones too";

/** As SAELens 6.18's `run_evals` names and defines them. Source: sae_lens/evals.py, get_downstream_reconstruction_metrics; spec §5. */
export const SAELENS_SPLICE_METRICS: Readonly<Record<keyof SaelensSpliceMetrics, SpliceMetric>> = {
  "saelens618.ce_loss_score": ceScore(
    "zeroEverywhere",
    "(ce_loss_with_ablation − ce_loss_with_sae) / (ce_loss_with_ablation − ce_loss_without_sae).",
  ),
  "saelens618.ce_loss_without_sae": {
    definition: `Next-token cross-entropy of the clean model, ${OVER}.`,
    unit: NATS,
    of: cleanCe,
    n: "nNext",
  },
  "saelens618.ce_loss_with_sae": ce(
    "spliced",
    `Next-token cross-entropy with the reconstruction at kept tokens, ${OVER}. ${NOT_REPEATED}`,
  ),
  "saelens618.ce_loss_with_ablation": ce(
    "zeroEverywhere",
    `Next-token cross-entropy ${EVERYWHERE}, ${OVER}.`,
  ),
  "saelens618.kl_div_score": klScore(
    "zeroEverywhere",
    "(kl_div_with_ablation − kl_div_with_sae) / kl_div_with_ablation.",
  ),
  "saelens618.kl_div_with_sae": kl(
    "spliced",
    `KL(clean ‖ reconstruction at kept tokens), mean over kept tokens. ${NOT_REPEATED}`,
  ),
  "saelens618.kl_div_with_ablation": kl(
    "zeroEverywhere",
    `KL(clean ‖ model ${EVERYWHERE}), mean over kept tokens.`,
  ),
};

/** One token's numbers; `ce` NaN where no token comes next. */
export interface SplicedToken {
  readonly ceClean: number;
  readonly ce: readonly number[];
  readonly kl: readonly number[];
}

/** Sums by document, of the runs made. */
export class SpliceSums {
  readonly runs: readonly SpliceRun[];
  /** document → [kept, followed, ceClean, ce and kl of each run] */
  readonly #documents = new Map<number, Float64Array>();

  constructor(runs: readonly SpliceRun[]) {
    this.runs = runs;
  }

  get nDocuments(): number {
    return this.#documents.size;
  }

  add(document: number, token: SplicedToken): void {
    let sums = this.#documents.get(document);
    if (sums === undefined) {
      sums = new Float64Array(3 + 2 * this.runs.length);
      this.#documents.set(document, sums);
    }
    const isFollowed = !Number.isNaN(token.ceClean);
    sums[0] += 1;
    if (isFollowed) {
      sums[1] += 1;
      sums[2] += token.ceClean;
    }
    for (let run = 0; run < this.runs.length; run++) {
      if (isFollowed) sums[3 + 2 * run] += token.ce[run];
      sums[4 + 2 * run] += token.kl[run];
    }
  }

  /** Metrics of a registry, with intervals; null where a formula divides by zero. */
  metrics<Name extends string>(
    registry: Readonly<Record<Name, SpliceMetric>>,
    seed: number,
  ): Record<Name, Metric<number | null>> {
    const names = Object.keys(registry) as Name[];
    const documents = [...this.#documents].sort(([a], [b]) => a - b).map(([, sums]) => sums);
    const whole = this.#totals(documents);
    const drawn = names.map((): number[] => []);
    if (this.nDocuments > 1)
      for (const weights of draws(this.nDocuments, seed)) {
        const totals = this.#totals(documents, weights);
        names.forEach((name, i) => {
          drawn[i].push(registry[name].of(totals) ?? Number.NaN);
        });
      }
    return Object.fromEntries(
      names.map((name, i) => {
        const { definition, unit, of, n } = registry[name];
        const interval = percentileInterval(Float64Array.from(drawn[i]));
        return [name, { value: of(whole), definition, unit, n: whole[n], interval }];
      }),
    ) as Record<Name, Metric<number | null>>;
  }

  /** Of all documents, each taken as often as `weights` says, else once. */
  #totals(documents: readonly Float64Array[], weights?: ArrayLike<number>): SpliceTotals {
    const sums = new Float64Array(3 + 2 * this.runs.length);
    documents.forEach((part, i) => {
      const weight = weights?.[i] ?? 1;
      if (weight > 0) for (let j = 0; j < sums.length; j++) sums[j] += weight * part[j];
    });
    const of = (run: SpliceRun, offset: number) => {
      const index = this.runs.indexOf(run);
      return index < 0 ? Number.NaN : sums[offset + 2 * index];
    };
    return {
      nKept: sums[0],
      nNext: sums[1],
      ceClean: sums[2],
      ce: (run) => of(run, 3),
      kl: (run) => of(run, 4),
    };
  }
}

/** How the intervals of a splice evaluation are made. */
export function spliceIntervals(seed: number): IntervalMethod {
  return {
    ...intervalMethod(seed),
    definition:
      "Percentile bootstrap over documents: replicates of as many documents as there are, drawn with replacement; sums over their tokens. " +
      "No interval where there is one document only, or where a replicate leaves the metric undefined.",
  };
}
