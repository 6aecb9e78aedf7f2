/**
 * Whether two SAEs fire the same latents on the same tokens. The first is run and what fired kept, 4 bytes an
 * activation; then the second is run over the same tokens, and token by token the two sets of latents are compared.
 */
import { ShapeError } from "../../errors.ts";
import type { SparseActs } from "../../kernels/kernels.ts";
import { quantile } from "../quantile.ts";
import type { Reconstructor } from "../token-source.ts";

/** Latents that fired, token by token, in chunks. */
export type FiringRecord = Pick<SparseActs, "nTokens" | "offsets" | "latents">[];

/** Agreement of what fires. Plain JSON. */
export interface FiringAgreement {
  readonly definition: string;
  /** tokens on which at least one of the two SAEs fired a latent */
  readonly nTokens: number;
  /** null: no such token */
  readonly mean: number | null;
  readonly quantiles: readonly { readonly percentile: number; readonly value: number }[];
}

const PERCENTILES = [5, 25, 50, 75, 95];

/** `reconstructor`, telling `onActs` what fired, chunk by chunk in the order in which chunks were asked for. */
export function watched(
  reconstructor: Reconstructor,
  onActs: (acts: SparseActs, chunk: number) => void,
): Reconstructor {
  let asked = 0;
  return {
    sae: reconstructor.sae,
    async reconstruct(x) {
      const chunk = asked++;
      const made = await reconstructor.reconstruct(x);
      onActs(made.acts, chunk);
      return made;
    },
  };
}

/** `reconstructor`, keeping what fires in `record`. */
export function recorded(reconstructor: Reconstructor, record: FiringRecord): Reconstructor {
  return watched(reconstructor, ({ nTokens, offsets, latents }, chunk) => {
    record[chunk] = { nTokens, offsets: offsets.slice(), latents: latents.slice() };
  });
}

/**
 * Jaccard index of each token: latents that fired in both SAEs over latents that fired in either; NaN where none did.
 * `partnerInB` [dSae of A] says which latent of B is the same as one of A; below 0: none is.
 * @throws {ShapeError} the two are not of the same tokens, or a latent is beyond `partnerInB`
 */
export function jaccardOfTokens(
  a: Pick<SparseActs, "nTokens" | "offsets" | "latents">,
  b: Pick<SparseActs, "nTokens" | "offsets" | "latents">,
  partnerInB: Int32Array,
): Float64Array {
  if (a.nTokens !== b.nTokens) throw new ShapeError("tokens of the second SAE", b.nTokens, a.nTokens);
  const jaccard = new Float64Array(a.nTokens);
  const inB = new Set<number>();
  for (let token = 0; token < a.nTokens; token++) {
    inB.clear();
    for (let e = b.offsets[token]; e < b.offsets[token + 1]; e++) inB.add(b.latents[e]);
    const nA = a.offsets[token + 1] - a.offsets[token];
    let both = 0;
    for (let e = a.offsets[token]; e < a.offsets[token + 1]; e++) {
      if (a.latents[e] >= partnerInB.length)
        throw new ShapeError("latent of an activation", a.latents[e], `below dSae ${partnerInB.length}`);
      if (inB.has(partnerInB[a.latents[e]])) both += 1;
    }
    jaccard[token] = both / (nA + inB.size - both);
  }
  return jaccard;
}

/** Mean and quantiles over all tokens of several chunks, in order. */
export function firingAgreement(chunks: readonly Float64Array[], definition: string): FiringAgreement {
  const nTokens = chunks.reduce((n, chunk) => n + chunk.filter((value) => !Number.isNaN(value)).length, 0);
  const sorted = new Float64Array(nTokens);
  let at = 0;
  let sum = 0;
  for (const chunk of chunks)
    for (const value of chunk)
      if (!Number.isNaN(value)) {
        sorted[at++] = value;
        sum += value;
      }
  sorted.sort();
  return {
    definition,
    nTokens,
    mean: nTokens === 0 ? null : sum / nTokens,
    quantiles:
      nTokens === 0
        ? []
        : PERCENTILES.map((percentile) => ({ percentile, value: quantile(sorted, percentile / 100) })),
  };
}
