/**
 * The slow twin of the latent index: reads like the definitions in `tables.ts`. Dense activations [token][latent], plain
 * loops and sorts, sums in f64; rows of every table but `logits`, which another part fills.
 */
import type { WindowBatch } from "../../src/corpus/windows.ts";
import { ROLES } from "../../src/corpus/windows.ts";
import { Philox } from "../../src/random/philox.ts";
import type { Sae } from "../../src/sae/sae.ts";

/** One indexed token. */
export interface SlowToken {
  readonly tokenId: number;
  readonly window: number;
  readonly position: number;
  readonly document: number;
  readonly role: number;
  readonly source: string;
  /** [dSae] */
  readonly acts: readonly number[];
}

export interface SlowOptions {
  readonly widths: readonly number[];
  readonly windows: WindowBatch;
  readonly textOf: (id: number) => string;
  readonly examples: {
    topExamples: number;
    examplesPerInterval: number;
    tokensBefore: number;
    tokensAfter: number;
    seed: number;
  };
  readonly base: Sae | null;
  readonly baseDensity: readonly number[] | null;
}

type Row = Record<string, unknown>;
const f32 = Math.fround;
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

export function slowIndex(tokens: readonly SlowToken[], sae: Sae, options: SlowOptions) {
  const { dSae, dIn } = sae.config;
  const roles = ROLES.filter((_, r) => tokens.some(({ role }) => role === r));
  const sources = [...new Set(tokens.map(({ source }) => source))];
  const bucketName = (position: number) => {
    for (let from = 0, to = 4; ; from = to, to *= 4) if (position < to) return `${from}–${to - 1}`;
  };
  const buckets = [
    ...new Set([...tokens].sort((a, b) => a.position - b.position).map((t) => bucketName(t.position))),
  ];
  const kinds = [
    { kind: "role", names: roles as readonly string[], of: (t: SlowToken) => ROLES[t.role] as string },
    { kind: "source", names: sources, of: (t: SlowToken) => t.source },
    { kind: "position", names: buckets as readonly string[], of: (t: SlowToken) => bucketName(t.position) },
  ];
  const row = (tensor: Float32Array, i: number) => Array.from(tensor.subarray(i * dIn, (i + 1) * dIn));
  const dot = (a: readonly number[], b: readonly number[]) => sum(a.map((x, j) => x * b[j]));
  const cosine = (a: readonly number[], b: readonly number[]) =>
    Math.max(-1, Math.min(1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))));
  const { wEnc, wDec, bEnc } = sae.weights;

  const out: Record<string, Row[]> = {
    latents: [],
    histograms: [],
    examples: [],
    neighbours: [],
    splits: [],
  };
  for (let latent = 0; latent < dSae; latent++) {
    const active = tokens.flatMap((token, at) =>
      token.acts[latent] > 0 ? [{ at, value: token.acts[latent] }] : [],
    );
    const values = active.map(({ value }) => value);
    const [min, max] = [Math.min(...values), Math.max(...values)];
    const fires = values.length > 0;
    out.latents.push({
      latent,
      level: options.widths.findIndex((width) => latent < width),
      n_active: values.length,
      n_documents: new Set(active.map(({ at }) => tokens[at].document)).size,
      density: values.length / tokens.length,
      min_act: fires ? min : null,
      max_act: fires ? max : null,
      mean_act: fires ? f32(sum(values) / values.length) : null,
      decoder_norm: f32(Math.sqrt(dot(row(wDec, latent), row(wDec, latent)))),
      encoder_norm: f32(Math.sqrt(dot(row(wEnc, latent), row(wEnc, latent)))),
      encoder_decoder_cosine: f32(cosine(row(wEnc, latent), row(wDec, latent))),
      b_enc: bEnc[latent],
      threshold: sae.threshold?.[latent] ?? null,
      dead_in_training: null,
      n_resampled: null,
      base_density: options.baseDensity?.[latent] ?? null,
      decoder_drift_cosine:
        options.base && f32(cosine(row(wDec, latent), row(options.base.weights.wDec, latent))),
      encoder_drift_cosine:
        options.base && f32(cosine(row(wEnc, latent), row(options.base.weights.wEnc, latent))),
      logit_min: null,
      logit_max: null,
      logit_mean: null,
      logit_std: null,
      label: "",
      label_kind: "none",
      label_precision: null,
      label_recall: null,
    });

    const bins = new Array<number>(fires ? 50 : 0).fill(0);
    for (const value of values)
      bins[value === max ? 49 : Math.min(49, Math.floor(((value - min) * 50) / (max - min)))] += 1;
    const intervalOf = (value: number) => [1, 2, 3, 4, 5].findIndex((j) => (value * 5) / max <= j || j === 5);
    out.histograms.push({
      latent,
      activations: bins,
      logits: null,
      intervals: [0, 1, 2, 3, 4].map((j) => values.filter((value) => intervalOf(value) === j).length),
    });

    const documentsBest = new Map<number, { at: number; value: number }>();
    for (const each of active) {
      const known = documentsBest.get(tokens[each.at].document);
      if (known === undefined || each.value > known.value) documentsBest.set(tokens[each.at].document, each);
    }
    const top = [...documentsBest.values()]
      .sort((a, b) => b.value - a.value || a.at - b.at)
      .slice(0, options.examples.topExamples);
    const shown = top.map(({ at, value }) => ({ at, value, interval: -1 }));
    for (const interval of [4, 3, 2, 1, 0]) {
      const shuffled = active.filter(({ value }) => intervalOf(value) === interval);
      const random = new Philox(options.examples.seed, `index/examples/${latent}/${interval}`);
      for (let i = 0; i < shuffled.length; i++) {
        const j = i + Math.floor(random.uniform(i) * (shuffled.length - i));
        [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
      }
      const documents: number[] = [];
      for (const { at, value } of shuffled) {
        if (documents.length === options.examples.examplesPerInterval) break;
        if (top.some((other) => other.at === at) || documents.includes(tokens[at].document)) continue;
        documents.push(tokens[at].document);
        shown.push({ at, value, interval });
      }
    }
    const { windows } = options;
    shown.forEach(({ at, value, interval }, rank) => {
      const { window, position, document, role, source } = tokens[at];
      const places = Array.from({ length: windows.lengths[window] }, (_, p) => p).filter(
        (p) => p >= position - options.examples.tokensBefore && p <= position + options.examples.tokensAfter,
      );
      out.examples.push({
        latent,
        rank,
        interval,
        value,
        document,
        window,
        position,
        role: roles.indexOf(ROLES[role]),
        source: sources.indexOf(source),
        at: places.indexOf(position),
        tokens: places.map((p) => options.textOf(windows.tokenIds[window * windows.contextSize + p])),
        acts: places.map(
          (p) => tokens.find((t) => t.window === window && t.position === p)?.acts[latent] ?? 0,
        ),
      });
    });

    const near = Array.from({ length: dSae }, (_, other) => ({
      other,
      value: cosine(row(wDec, latent), row(wDec, other)),
    }))
      .filter(({ other }) => other !== latent)
      .sort((a, b) => b.value - a.value || a.other - b.other)
      .slice(0, 10);
    near.forEach(({ other, value }, rank) => {
      out.neighbours.push({
        latent,
        kind: "decoder",
        rank,
        other,
        value: f32(value),
        cosine: null,
        n_both: null,
        jaccard: null,
      });
    });
    const column = (i: number) => tokens.map(({ acts }) => acts[i]);
    const a = column(latent);
    const n = tokens.length;
    const together = Array.from({ length: dSae }, (_, other) => {
      const b = column(other);
      const nBoth = a.filter((value, t) => value > 0 && b[t] > 0).length;
      const spread = (x: readonly number[]) => n * dot(x, x) - sum(x) * sum(x);
      return {
        other,
        nBoth,
        value: (n * dot(a, b) - sum(a) * sum(b)) / Math.sqrt(spread(a) * spread(b)),
        cosine: dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
        jaccard: nBoth / a.filter((value, t) => value > 0 || b[t] > 0).length,
      };
    });
    together
      .filter(({ other, nBoth, value }) => other !== latent && nBoth > 0 && Number.isFinite(value))
      .sort((x, y) => y.value - x.value || x.other - y.other)
      .slice(0, 10)
      .forEach(({ other, nBoth, value, cosine, jaccard }, rank) => {
        out.neighbours.push({
          latent,
          kind: "firing",
          rank,
          other,
          value: f32(value),
          cosine: f32(cosine),
          n_both: nBoth,
          jaccard: f32(jaccard),
        });
      });

    for (const { kind, names, of } of kinds)
      names.forEach((name, i) => {
        const there = active.filter(({ at }) => of(tokens[at]) === name);
        if (there.length > 0)
          out.splits.push({
            latent,
            kind,
            class: i,
            n_active: there.length,
            mean_act: f32(sum(there.map(({ value }) => value)) / there.length),
          });
      });
  }
  return out;
}
