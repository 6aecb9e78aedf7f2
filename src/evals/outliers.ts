/**
 * How much of an evaluation hangs on few tokens. The first pass keeps each token's squared error and norm, which gives the
 * cuts; the second pass sums, without encoding again, every token in the one group of tokens that the same cuts leave out.
 * What remains without a share of the tokens is the sum of some groups: exact, and about its own mean.
 */
import type { ActivationRows } from "../activations/activations.ts";
import { ROLES } from "../corpus/windows.ts";
import { squaredDistance } from "./measure.ts";
import { METRICS } from "./metrics.ts";
import { quantile } from "./quantile.ts";
import type { OutlierShare, OutlierSummary, WorstToken } from "./result.ts";
import { INDEX, N_QUANTITIES, TokenSums, total } from "./token-sums.ts";
import type { TokenText } from "./token-texts.ts";

/** Shares of the tokens that are left out. */
const OUTLIER_SHARES = [0.0001, 0.001, 0.01] as const;
const N_WORST = 50;
const N_CURVE = 60;

/** Bit s of a token's mask: among the OUTLIER_SHARES[s] of largest error; BY_NORM + s: of largest norm. */
const BY_NORM = OUTLIER_SHARES.length;
const IS_WORST = 1 << (2 * BY_NORM);

export const OUTLIERS_DEFINITION =
  "Tokens ranked by ‖x−x̂‖² (or by ‖x‖), ties to the earlier token. A share of n tokens is ⌈share·n⌉ of them. veWithout: " +
  "variance explained of the tokens that remain, about their own mean. gini: Gini coefficient of the squared errors, " +
  "0 where all are equal, (n−1)/n where one token has all. curve: the worst tokenShare of the tokens carry sseShare of " +
  "the total.";

/** Squared error and norm of every token, in the order of the store: 16 bytes a token. */
export class TokenErrors {
  /** [n] */
  readonly sse: Float64Array;
  /** [n] ‖x‖ */
  readonly norm: Float64Array;
  #n = 0;

  /** `n`: tokens to come */
  constructor(n: number) {
    this.sse = new Float64Array(n);
    this.norm = new Float64Array(n);
  }

  /** Adds the tokens of a table of quantities. */
  add(quantities: Float64Array): void {
    for (let at = 0; at < quantities.length; at += N_QUANTITIES, this.#n++) {
      this.sse[this.#n] = quantities[at + INDEX.sse];
      this.norm[this.#n] = quantities[at + INDEX.norm];
    }
  }
}

/** What is said of a token beside its numbers. */
export interface TokenContext {
  readonly sourceOf?: (document: number) => string | null;
  readonly texts?: TextsAround;
}

/** Shows tokens of the set's windows. */
export interface TextsAround {
  /** the text around a position of a window; null: not known */
  around(window: number, position: number): Promise<TokenText | null> | TokenText | null;
}

type Labels = Pick<WorstToken, "tokenId" | "document" | "window" | "position" | "role">;

/** The second pass over the tokens. */
export class OutlierGroups {
  readonly #errors: TokenErrors;
  readonly #mean: Float64Array;
  /** squared errors and norms, ascending */
  readonly #sorted: { readonly sse: Float64Array; readonly norm: Float64Array };
  readonly #worst: readonly number[];
  /** [n] which cuts leave a token out */
  readonly #masks: Uint8Array;
  readonly #groups = new Map<number, TokenSums>();
  readonly #labels = new Map<number, Labels>();

  /** `mean`: x̄ of all tokens, [dIn] */
  constructor(errors: TokenErrors, mean: Float64Array) {
    this.#errors = errors;
    this.#mean = mean;
    const { sse, norm } = errors;
    this.#sorted = { sse: sse.slice().sort(), norm: norm.slice().sort() };
    this.#masks = new Uint8Array(sse.length);
    const mark = (tokens: readonly number[], bit: number) => {
      for (const token of tokens) this.#masks[token] |= bit;
    };
    OUTLIER_SHARES.forEach((share, s) => {
      const n = tokensOf(share, sse.length);
      mark(largest(sse, this.#sorted.sse, n), 1 << s);
      mark(largest(norm, this.#sorted.norm, n), 1 << (BY_NORM + s));
    });
    this.#worst = largest(sse, this.#sorted.sse, Math.min(N_WORST, sse.length))
      .filter((token) => sse[token] > 0)
      .sort((a, b) => sse[b] - sse[a] || a - b);
    mark(this.#worst, IS_WORST);
  }

  /**
   * Adds rows, the first of which is token `first`; `hasRoles`: their roles are known.
   * Returns ‖x − x̄‖² of each.
   */
  add(rows: ActivationRows, first: number, hasRoles: boolean): Float64Array {
    const quantities = new Float64Array(rows.nRows * N_QUANTITIES);
    const scatters = new Float64Array(rows.nRows);
    for (let row = 0; row < rows.nRows; row++) {
      const token = first + row;
      const at = row * N_QUANTITIES;
      quantities[at + INDEX.n] = 1;
      scatters[row] = squaredDistance(rows.activations, row, this.#mean);
      quantities[at + INDEX.yy] = scatters[row];
      quantities[at + INDEX.sse] = this.#errors.sse[token];
      const mask = this.#masks[token];
      this.#group(mask & ~IS_WORST).addToken(rows.activations, quantities, row);
      if ((mask & IS_WORST) !== 0)
        this.#labels.set(token, {
          tokenId: rows.tokenIds[row],
          document: rows.document[row],
          window: rows.window[row],
          position: rows.position[row],
          role: hasRoles ? (ROLES[rows.role[row]] ?? null) : null,
        });
    }
    return scatters;
  }

  async summary(context: TokenContext): Promise<OutlierSummary> {
    const { sse } = this.#errors;
    const whole = total(this.#groups.values(), this.#mean).get("sse");
    const shareOf = (part: number, nTokens: number) => (whole > 0 ? part / whole : nTokens / sse.length);
    const worst: WorstToken[] = [];
    for (const token of this.#worst) worst.push(await this.#describe(token, shareOf(sse[token], 1), context));
    return {
      definition: OUTLIERS_DEFINITION,
      gini: gini(this.#sorted.sse),
      shares: OUTLIER_SHARES.map((share, s) => this.#share(share, s, shareOf)),
      curve: curve(this.#sorted.sse, shareOf),
      worst,
    };
  }

  #share(share: number, s: number, shareOf: (part: number, nTokens: number) => number): OutlierShare {
    const nTokens = tokensOf(share, this.#errors.sse.length);
    const cut = (bit: number) => {
      const groups = [...this.#groups];
      const sums = (isIn: (mask: number) => boolean) =>
        total(
          groups.filter(([mask]) => isIn(mask)).map(([, group]) => group),
          this.#mean,
        );
      const kept = sums((mask) => (mask & bit) === 0);
      return {
        sse: shareOf(sums((mask) => (mask & bit) !== 0).get("sse"), nTokens),
        ve: kept.n === 0 ? null : METRICS.ve.of(kept),
      };
    };
    const [byError, byNorm] = [cut(1 << s), cut(1 << (BY_NORM + s))];
    return {
      share,
      nTokens,
      sseShare: byError.sse,
      veWithout: byError.ve,
      sseShareByNorm: byNorm.sse,
      veWithoutByNorm: byNorm.ve,
    };
  }

  async #describe(token: number, sseShare: number, context: TokenContext): Promise<WorstToken> {
    const labels = this.#labels.get(token)!;
    const text = (await context.texts?.around(labels.window, labels.position)) ?? null;
    const norm = this.#errors.norm[token];
    const medianNorm = quantile(this.#sorted.norm, 0.5);
    return {
      sse: this.#errors.sse[token],
      sseShare,
      norm,
      normRatio: medianNorm > 0 ? norm / medianNorm : 1,
      ...labels,
      source: context.sourceOf?.(labels.document) ?? null,
      token: text?.token ?? null,
      before: text?.before ?? null,
      after: text?.after ?? null,
    };
  }

  #group(mask: number): TokenSums {
    let group = this.#groups.get(mask);
    if (group === undefined) {
      group = new TokenSums(this.#mean);
      this.#groups.set(mask, group);
    }
    return group;
  }
}

/** ⌈share·n⌉; what is above a whole number by rounding alone is that number. */
export function tokensOf(share: number, n: number): number {
  return Math.min(n, Math.ceil(share * n - 1e-9));
}

/** Indices of the `m` largest values, ascending; among equal ones the lowest. `sorted`: the values, ascending. */
export function largest(values: Float64Array, sorted: Float64Array, m: number): number[] {
  if (m === 0) return [];
  const cut = sorted[sorted.length - m];
  let nTies = m;
  for (let i = sorted.length - 1; i >= 0 && sorted[i] > cut; i--) nTies--;
  const chosen: number[] = [];
  for (let i = 0; i < values.length; i++)
    if (values[i] > cut || (values[i] === cut && nTies-- > 0)) chosen.push(i);
  return chosen;
}

/** G = 2 Σ i·vᵢ / (n Σ vᵢ) − (n+1)/n of ascending values, i from 1; 0 where all are 0. */
export function gini(sorted: Float64Array): number {
  const n = sorted.length;
  let [ranked, sum] = [0, 0];
  for (let i = 0; i < n; i++) {
    ranked += (i + 1) * sorted[i];
    sum += sorted[i];
  }
  return sum > 0 ? Math.max(0, (2 * ranked) / (n * sum) - (n + 1) / n) : 0;
}

/** Some sixty points, evenly spaced in the logarithm of the share, from one token to all. */
function curve(
  sorted: Float64Array,
  shareOf: (part: number, nTokens: number) => number,
): OutlierSummary["curve"] {
  const n = sorted.length;
  const counts = new Set(Array.from({ length: N_CURVE }, (_, i) => Math.round(n ** (i / (N_CURVE - 1)))));
  const points: { tokenShare: number; sseShare: number }[] = [];
  let carried = 0;
  for (let m = 1; m <= n; m++) {
    carried += sorted[n - m];
    if (counts.has(m))
      points.push({ tokenShare: m / n, sseShare: m === n ? 1 : Math.min(1, shareOf(carried, m)) });
  }
  return points;
}
