/**
 * What SAEs do to the model's own predictions when their reconstructions take the place of the residual stream: next-token
 * cross-entropy and KL, against the clean model, zeros and the mean activation. Kept positions are replaced, the others
 * pass through. A batch runs clean once; each intervention begins at the layer it changes. Memory: `SplicedModel.memory`.
 */
import { DataError, ShapeError, UnsupportedError } from "../../errors.ts";
import type { Intervention, SplicedBatch, SplicedModel } from "../../models/spliced-model.ts";
import { canonicalHookName, sameHookIfKnown } from "../../sae/hook-name.ts";
import type { Metric } from "../metrics.ts";
import { saeIdentity } from "../result.ts";
import type { Reconstructor } from "../token-source.ts";
import {
  SAELENS_SPLICE_METRICS,
  SPLICE_METRICS,
  type SplicedToken,
  type SpliceRun,
  SpliceSums,
  spliceIntervals,
} from "./metrics.ts";
import { intervene, meanActivations, type Replacements, saeOf } from "./replacements.ts";
import type { SpliceMetrics, SpliceResult } from "./result.ts";
import {
  firstWindows,
  type SpliceBatch,
  type SpliceWindows,
  spliceBatches,
  windowsPerBatch,
} from "./windows.ts";

export { type SpliceWindows, spliceWindows, windowsInMemory } from "./windows.ts";

/** Which SAEs, in which model, on which windows. */
export interface SpliceOptions {
  readonly model: SplicedModel;
  readonly windows: SpliceWindows;
  /** SAEs by layer; each layer must be one of the model's */
  readonly saes: ReadonlyMap<number, Reconstructor>;
  /** kept tokens; whole windows are taken until there are so many. Default 32 768 */
  readonly tokens?: number;
  /** with several SAEs, also all of them at once; default true */
  readonly together?: boolean;
  /** mean activations [dIn] by layer; default: computed from the same windows, in a pass of the lower part */
  readonly means?: ReadonlyMap<number, Float32Array>;
  /** also SAELens' own numbers, whose ablation covers excluded positions too: one more run a layer; default false */
  readonly saelens?: boolean;
  /** of the confidence intervals; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SpliceProgress) => void;
  /** every kept token's numbers, as they come */
  readonly onToken?: (token: SplicedTokenAt) => void;
}

/** How far a splice evaluation is, in kept tokens of a pass. */
export interface SpliceProgress {
  readonly pass: "mean" | "splice";
  readonly done: number;
  readonly total: number;
}

/** A kept token's numbers; `ce` and `kl` one a run of `runs`. */
export interface SplicedTokenAt extends SplicedToken {
  readonly layers: readonly number[];
  readonly runs: readonly SpliceRun[];
  readonly window: number;
  readonly position: number;
  readonly document: number;
}

/** Kept tokens of a set, unless told otherwise. */
const DEFAULT_SPLICE_TOKENS = 32_768;
/** Streams of runs that wait to be scored together stay below this. */
const WAITING_BYTES = 256 * 1024 * 1024;
/** Runs of a study: the reconstruction, zeros, the mean, zeros everywhere. */
const MOST_RUNS = 4;

/**
 * Evaluates each SAE alone, ascending by layer, and with several all of them at once.
 * @throws {DataError} no kept tokens, an SAE of another hook point, or numbers that are not finite
 * @throws {ShapeError | UnsupportedError} an SAE of another width, a layer at which the model was not cut
 * @throws the signal's reason when aborted
 */
export async function evaluateSplice(options: SpliceOptions): Promise<SpliceResult[]> {
  const { model, windows, saes, signal, onProgress, seed = 0 } = options;
  const layers = checkSaes(model, saes, options.means);
  const chosen = await firstWindows(windows, options.tokens ?? DEFAULT_SPLICE_TOKENS);
  const size = windowsPerBatch(model, chosen.contextSize);
  const batches = () => spliceBatches(chosen, size);
  let total = 0;
  for (const { kept } of batches()) total += kept.rows.length;
  const means =
    options.means ??
    (await meanActivations(model, batches(), signal, (done) => onProgress?.({ pass: "mean", done, total })));
  const runs: SpliceRun[] = ["spliced", "zero", "mean"];
  const studies = [
    ...layers.map((layer) => new Study([layer], options.saelens ? [...runs, "zeroEverywhere"] : runs)),
    ...(layers.length > 1 && options.together !== false ? [new Study(layers, runs)] : []),
  ];
  let done = 0;
  for (const batch of batches()) {
    const n = batch.kept.rows.length;
    await spliceBatch(batch, studies, { saes, means }, options, (share) =>
      onProgress?.({ pass: "splice", done: done + Math.floor(n * share), total }),
    );
    done += n;
  }
  return studies.map(({ layers: replaced, sums }): SpliceResult => {
    const metrics = sums.metrics(SPLICE_METRICS, seed);
    if (metrics.ceClean.n === 0)
      throw new DataError(`no kept token of set "${windows.set}" is followed by another`);
    const isSaelens = sums.runs.includes("zeroEverywhere");
    return {
      format: "lapidary-splice",
      version: 1,
      set: windows.set,
      layers: replaced,
      saes: replaced.map((layer) => saeIdentity(saeOf(saes, layer).sae)),
      windows: { hash: windows.hash, nWindows: chosen.nWindows },
      nTokens: total,
      nDocuments: sums.nDocuments,
      intervals: spliceIntervals(seed),
      metrics: metrics as Record<keyof SpliceMetrics, Metric> as SpliceMetrics,
      ...(isSaelens ? { saelens618: sums.metrics(SAELENS_SPLICE_METRICS, seed) } : {}),
    };
  });
}

/** Layers replaced together, and the sums of what it did. */
class Study {
  readonly layers: readonly number[];
  readonly sums: SpliceSums;

  constructor(layers: readonly number[], runs: readonly SpliceRun[]) {
    this.layers = layers;
    this.sums = new SpliceSums(runs);
  }
}

/** Runs one batch clean, then all studies, as many at a time as their streams leave room for; tells what share is done. */
async function spliceBatch(
  batch: SpliceBatch,
  studies: readonly Study[],
  replacements: Replacements,
  options: SpliceOptions,
  onShare: (share: number) => void,
): Promise<void> {
  const { model, signal } = options;
  const steps = 1 + studies.reduce((n, { sums }) => n + 2 * sums.runs.length, 0);
  let step = 0;
  const stepped = (n: number) => {
    step += n;
    onShare(step / steps);
    signal?.throwIfAborted();
  };
  signal?.throwIfAborted();
  const { nWindows, seqLen } = batch.tokens;
  const bytes = (nRuns: number) =>
    model.memory({ batchTokens: nWindows * seqLen, contextSize: seqLen, nRuns }).total;
  const perRun = bytes(1) - bytes(0);
  const atOnce = Math.max(1, Math.floor(WAITING_BYTES / (perRun * MOST_RUNS)));
  const run = await model.run(batch.tokens);
  try {
    stepped(1);
    for (let from = 0; from < studies.length; from += atOnce) {
      const group = studies.slice(from, from + atOnce);
      const interventions: Intervention[] = [];
      for (const { layers, sums } of group)
        for (const kind of sums.runs) {
          interventions.push(await intervene(run, batch, layers, kind, replacements));
          stepped(1);
        }
      await scoreGroup(run, batch, group, interventions, options);
      stepped(interventions.length);
      for (const intervention of interventions) await run.release(intervention);
    }
  } finally {
    await run.release().catch(() => {}); // where its thread has ended there is nothing to release
  }
}

async function scoreGroup(
  run: SplicedBatch,
  batch: SpliceBatch,
  group: readonly Study[],
  interventions: readonly Intervention[],
  { signal, onToken }: SpliceOptions,
): Promise<void> {
  const { ceClean, ce, kl } = await run.score(batch.kept, interventions, signal);
  let first = 0;
  for (const { layers, sums } of group) {
    const { runs } = sums;
    for (let i = 0; i < ceClean.length; i++) {
      const token = {
        ceClean: ceClean[i],
        ce: runs.map((_, r) => ce[first + r][i]),
        kl: runs.map((_, r) => kl[first + r][i]),
      };
      const [window, position] = [batch.window[i], batch.position[i]];
      checkFinite(token, batch.kept.next[i] >= 0, runs, `window ${window}, position ${position}`);
      sums.add(batch.document[i], token);
      onToken?.({ ...token, layers, runs, window, position, document: batch.document[i] });
    }
    first += runs.length;
  }
}

function checkFinite(
  { ceClean, ce, kl }: SplicedToken,
  isFollowed: boolean,
  runs: readonly SpliceRun[],
  where: string,
): void {
  if (isFollowed && !Number.isFinite(ceClean))
    throw new DataError(`the model's logits are not finite at ${where}`);
  runs.forEach((run, r) => {
    if (!Number.isFinite(kl[r]) || (isFollowed && !Number.isFinite(ce[r])))
      throw new DataError(`with the stream replaced (${run}), the model's logits are not finite at ${where}`);
  });
}

/** Layers of the SAEs, ascending. */
function checkSaes(
  { info, layers }: SplicedModel,
  saes: ReadonlyMap<number, Reconstructor>,
  means: ReadonlyMap<number, Float32Array> | undefined,
): number[] {
  if (saes.size === 0) throw new UnsupportedError("no SAE to splice in");
  for (const [layer, { sae }] of saes) {
    if (!layers.includes(layer))
      throw new UnsupportedError(
        `an SAE for layer ${layer}, but the model was opened to be cut at ${layers.join(", ")}`,
        "open it with this layer too",
      );
    const { dIn, hookName, output } = sae.config;
    if (output !== undefined)
      throw new UnsupportedError(
        `the SAE for layer ${layer} is a transcoder: it does not predict the stream it reads`,
        "splice in SAEs of the residual stream",
      );
    if (dIn !== info.dIn)
      throw new ShapeError(`dIn of the SAE for layer ${layer}`, dIn, `the model's ${info.dIn}`);
    const here = canonicalHookName(layer);
    if (hookName !== null && sameHookIfKnown(hookName, here) !== true)
      throw new DataError(`the SAE reads ${hookName} and was to be spliced in at ${here}`, {
        hint: "splice an SAE in at its own hook point",
      });
    const mean = means?.get(layer);
    if (means !== undefined && mean?.length !== dIn)
      throw new ShapeError(`mean activation of layer ${layer}`, mean?.length ?? 0, dIn);
  }
  return [...saes.keys()].sort((a, b) => a - b);
}
