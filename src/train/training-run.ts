/**
 * A training run under way: the engine, the counters, the logs, and the state that a checkpoint holds. Each method is
 * one sentence of the loop in `trainer.ts`.
 */
import type { BatchReader } from "../activations/activations.ts";
import { TrainingError } from "../errors.ts";
import type { AuditResult, TrainStepOptions, TrainStepResult } from "../kernels/kernels.ts";
import { afterAudit, NO_AUDITS, screeningOf, tokensToAudit } from "./audit.ts";
import { BatchQueue } from "./batch-queue.ts";
import { type Checkpoint, pruneCheckpoints, type TrainState, writeCheckpoint } from "./checkpoint.ts";
import {
  afterLook,
  afterResampling,
  afterRollBack,
  afterSettling,
  afterStepTaken,
  endEvent,
  metricsLine,
  newcomerSteps,
  START,
} from "./course.ts";
import { goBack } from "./go-back.ts";
import { afterGoodCheck, findBreach, firstGuardState, incidentOf } from "./guard.ts";
import { type HeldOutReading, heldOutChunk, readHeldOut } from "./held-out.ts";
import { batchVariance } from "./metrics.ts";
import { shareIncident } from "./newcomers.ts";
import type { TrainOptions } from "./options.ts";
import { type Incident, Pace } from "./progress.ts";
import { resample } from "./resampling.ts";
import type { RunIdentity } from "./run-identity.ts";
import { coefficientAt, learningRateAt } from "./schedule.ts";
import { openSession, type Session } from "./session.ts";
import { cutOf, nextThreshold } from "./threshold.ts";

export class TrainingRun {
  readonly #options: TrainOptions;
  readonly #identity: RunIdentity;
  readonly #session: Session;
  readonly #reader: BatchReader;
  readonly #batches: BatchQueue;
  readonly #pace = new Pace();
  readonly #openedAt = performance.now();
  #state: TrainState;
  #lastCheckpoint: Checkpoint | null;
  /** what was last seen of the held-out rows, and when: watch and guard often look at the same rows */
  #seen: { readonly step: number; readonly tokens: number; readonly reading: HeldOutReading } | null = null;

  private constructor(options: TrainOptions, identity: RunIdentity, session: Session) {
    this.#options = options;
    this.#identity = identity;
    this.#session = session;
    this.#lastCheckpoint = session.checkpoint;
    const { batchTokens, seed, screening } = options.config;
    const begin = screening === undefined ? START : { ...START, audit: NO_AUDITS };
    this.#state = session.checkpoint?.record.state ?? begin;
    this.#reader = options.store.batches({ batchTokens, seed });
    this.#batches = new BatchQueue(this.#reader, identity.totalSteps);
  }

  /** Goes on from the newest checkpoint, or begins. */
  static async open(
    options: TrainOptions,
    identity: RunIdentity,
    checkpoints: readonly Checkpoint[],
  ): Promise<TrainingRun> {
    const session = await openSession(options, checkpoints);
    const run = new TrainingRun(options, identity, session);
    try {
      const { checkpoint, damaged, engine, events } = session;
      for (const file of damaged) await events.append({ event: "checkpoint-damaged", step: run.step, file });
      if (checkpoint === null) await run.#begin();
      else if (checkpoint.record.numericClass !== engine.numericClass) await run.#noteOtherBits(checkpoint);
      return run;
    } catch (error) {
      await run.close();
      throw error;
    }
  }

  /** steps done */
  get step(): number {
    return this.#state.step;
  }

  get lastCheckpoint(): Checkpoint | null {
    return this.#lastCheckpoint;
  }

  /** The last step is done, or training stops early. */
  get isOver(): boolean {
    return this.step === this.#identity.totalSteps || this.#state.stoppedEarly !== undefined;
  }

  /** The next step opens an epoch that is not the first, and the guard has not ended resampling. */
  get mayResample(): boolean {
    return (
      this.step > 0 &&
      this.#atBoundary &&
      this.#options.config.resampling !== null &&
      this.#state.rollbacks === 0
    );
  }

  /** At checks, at checkpoints, and when newcomers have been watched long enough. */
  get watchIsDue(): boolean {
    const { watch } = this.#options.config;
    return (
      watch !== undefined &&
      (this.step % watch.everySteps === 0 || this.checkpointIsDue || this.newcomersSettle)
    );
  }

  get guardIsDue(): boolean {
    const { guard } = this.#options.config;
    return guard !== null && (this.step % guard.everySteps === 0 || this.#atBoundary);
  }

  get checkpointIsDue(): boolean {
    return this.step % this.#options.config.checkpointEverySteps === 0 || this.#atBoundary || this.isOver;
  }

  /** `step` steps done end an epoch. The last step does, too. */
  get #atBoundary(): boolean {
    return this.step % this.#identity.batchesPerEpoch === 0;
  }

  /** Newcomers have been watched for `watchSteps` steps, or to the end of the epoch or of training. */
  get newcomersSettle(): boolean {
    const { newcomers } = this.#state;
    return (
      newcomers !== undefined &&
      (this.step - newcomers.since >= newcomerSteps(this.#options.config) || this.#atBoundary || this.isOver)
    );
  }

  get #selection(): TrainStepOptions["selection"] {
    const { form } = this.#options.start;
    return form.selection === "own" ? { kind: "own" } : { kind: form.selection, k: form.k };
  }

  /** Before the first step: where the threshold starts, and what the guard sees. */
  async #begin(): Promise<void> {
    const { start, config } = this.#options;
    let threshold = start.threshold;
    if (threshold === "first-batch-cut") {
      const x = await this.#batches.at(0);
      const encoded = this.#exactly(() => this.#session.engine.encode(x, this.#selection));
      threshold = cutOf(await encoded) ?? 0;
    }
    this.#state = { ...this.#state, threshold };
    await this.#session.events.append({
      event: "start",
      step: 0,
      totalSteps: this.#identity.totalSteps,
      batchesPerEpoch: this.#identity.batchesPerEpoch,
      numericClass: this.#session.engine.numericClass,
      threshold,
      thresholdFrom: typeof start.threshold === "number" ? "given" : start.threshold,
      ...(start.thresholdSpread === undefined ? {} : { thresholdSpread: start.thresholdSpread }),
      ...(start.adam && { adamSteps: start.adam.step }),
    });
    if (config.watch !== undefined) await this.watch();
    if (config.guard !== null) {
      const { ve, cut } = await this.#look(config.guard.tokens);
      this.#state = { ...this.#state, guard: firstGuardState({ ve, cut }) };
      await this.#session.events.append({ event: "guard", step: 0, ve, cut });
    }
  }

  /** Does what is not a step of training with a screen that misses nothing. */
  async #exactly<T>(work: () => Promise<T>): Promise<T> {
    const screening = screeningOf(this.#options.config.screening, this.#state.audit);
    if (screening.margin === "rigorous") return work();
    const { engine } = this.#session;
    await engine.setScreening({ margin: "rigorous" });
    try {
      return await work();
    } finally {
      await engine.setScreening(screening);
    }
  }

  async #noteOtherBits({ record }: Checkpoint): Promise<void> {
    await this.#addIncident({
      kind: "other-bits",
      step: this.step,
      what: `went on in numeric class ${this.#session.engine.numericClass} from a checkpoint computed in ${record.numericClass}`,
      details: { from: record.numericClass, to: this.#session.engine.numericClass },
    });
  }

  async #addIncident(incident: Incident): Promise<void> {
    this.#state = { ...this.#state, incidents: [...this.#state.incidents, incident] };
    const { kind, step, what, details } = incident;
    await this.#session.events.append({ event: kind, step, what, ...details });
  }

  /** Forward, backward and update on the next batch; threshold, counters and metrics follow. The batch after it is read meanwhile. */
  async trainStep(): Promise<void> {
    const { config, start } = this.#options;
    const { form } = start;
    const x = await this.#batches.at(this.step);
    const nTokens = x.length / this.#identity.dIn;
    const learningRate = learningRateAt(config.schedule, this.#identity.totalSteps, this.step);
    const audited = this.#tokensToAudit(nTokens);
    const stepping = this.#session.engine.trainStep(x, {
      selection: this.#selection,
      learningRate,
      adamStep: (start.adam?.step ?? 0) + this.step + 1,
      beta1: config.beta1,
      beta2: config.beta2,
      epsilon: config.epsilon,
      clipNorm: config.clipNorm,
      ...(form.selection === "own" && {
        sparsity: coefficientAt(form.sparsityCoefficient, form.sparsityWarmUpSteps, this.step),
      }),
      aux:
        form.auxCoefficient > 0 && this.#session.latents.count > 0
          ? { coefficient: form.auxCoefficient, dead: this.#session.latents.mask }
          : null,
      ...(audited === null ? {} : { audit: { tokens: audited } }),
    });
    const told = this.#isLogged(this.step + 1) || this.#options.onProgress !== undefined;
    const variance = told ? batchVariance(x, this.#identity.dIn) : Number.NaN;
    const result = await stepping;
    if (!Number.isFinite(result.loss) || !Number.isFinite(result.gradNorm))
      throw await this.#nonFinite(result);

    this.#session.latents.observe(result.fired, nTokens);
    const { threshold } = this.#state;
    this.#state = {
      ...this.#state,
      step: this.step + 1,
      tokens: this.#state.tokens + nTokens,
      dead: this.#session.latents.count,
      threshold:
        form.selection === "batch-topk"
          ? nextThreshold(threshold, form.thresholdLr, result.minPositive)
          : threshold,
    };
    if (result.audit !== null) await this.#noteAudit(result.audit);
    const { state, incident } = afterStepTaken(this.#state, result, config);
    this.#state = state;
    if (incident !== null) await this.#addIncident(incident);
    this.#pace.step(nTokens);
    if (told) await this.#tell(result, learningRate, 1 - result.mse / variance);
  }

  #tokensToAudit(nTokens: number): Uint32Array | null {
    const { screening, seed } = this.#options.config;
    if (screening === undefined || this.#state.audit?.margin === "rigorous") return null;
    return tokensToAudit(screening, { seed, step: this.step, nTokens });
  }

  /** Counts an audit of the step just done; past the limit the rest of the run screens rigorously. */
  async #noteAudit(result: AuditResult): Promise<void> {
    const { screening } = this.#options.config;
    if (screening === undefined || this.#state.audit === undefined) return;
    const { audit, event, incident } = afterAudit(this.#state.audit, result, screening, this.step);
    this.#state = { ...this.#state, audit };
    if (event !== null) await this.#session.events.append(event);
    if (incident === null) return;
    await this.#session.engine.setScreening({ margin: "rigorous" });
    await this.#addIncident(incident);
  }

  #isLogged(step: number): boolean {
    return (
      step === 1 || step % this.#options.config.logEverySteps === 0 || step === this.#identity.totalSteps
    );
  }

  async #tell(result: TrainStepResult, learningRate: number, ve: number): Promise<void> {
    const { step, threshold, dead, newcomers } = this.#state;
    const { loss, l0 } = result;
    if (this.#isLogged(step))
      await this.#session.metrics.append({ ...metricsLine(this.#state, result, { ve, learningRate }) });
    this.#options.onProgress?.({
      ...{ step, loss, ve, l0, threshold, dead, learningRate },
      ...(newcomers && { newcomers: { count: newcomers.latents.length, share: newcomers.latest } }),
      totalSteps: this.#identity.totalSteps,
      tokensPerSecond: this.#pace.tokensPerSecond,
    });
  }

  async #nonFinite({ loss, gradNorm }: TrainStepResult): Promise<TrainingError> {
    const { epoch, batch } = this.#batches.positionOf(this.step);
    const what = Number.isFinite(loss) ? `the gradient norm is ${gradNorm}` : `the loss is ${loss}`;
    await this.#session.events.append({ event: "non-finite", step: this.step + 1, epoch, batch, what });
    return new TrainingError(
      `${what} in step ${this.step + 1} (epoch ${epoch}, batch ${batch}, both counted from 0); ` +
        `last good checkpoint: ${this.#lastCheckpoint?.dir ?? "none yet"}`,
      "look for extreme activations in that batch, or lower the learning rate (a new run)",
    );
  }

  /** Gives dead latents a new start (`resampling.ts`) and puts that on the guard's probation. */
  async resample(): Promise<void> {
    const { config } = this.#options;
    const { newcomers, report } = await this.#exactly(() =>
      resample(this.#session.engine, {
        config: config.resampling!,
        selection: this.#selection,
        seed: config.seed,
        epoch: this.step / this.#identity.batchesPerEpoch - 1,
        reader: this.#reader,
        dead: this.#session.latents.mask,
      }),
    );
    this.#session.latents.restart(newcomers);
    const { threshold } = this.#state;
    this.#state = { ...this.#state, dead: this.#session.latents.count };
    this.#state = afterResampling(this.#state, newcomers, report);
    await this.#session.events.append({ event: "resampling", step: this.step, threshold, ...report });
    this.#seen = null; // other weights at the same step
    this.#pace.restart();
  }

  /** Reads the held-out rows as the SAE reconstructs them now. */
  async #look(tokens: number): Promise<HeldOutReading> {
    if (this.#seen?.step === this.step && this.#seen.tokens === tokens) return this.#seen.reading;
    const { config, heldOut } = this.#options;
    const reading = await this.#exactly(() =>
      readHeldOut(this.#session.engine, heldOut!, {
        selection: this.#selection,
        tokens,
        chunkRows: heldOutChunk(this.#selection.kind, this.#session.engine.config.dSae, config.batchTokens),
      }),
    );
    this.#seen = { step: this.step, tokens, reading };
    this.#pace.restart();
    return reading;
  }

  /** A look of the watch: written down, and judged if it is a check. */
  async watch(): Promise<void> {
    const { config } = this.#options;
    const reading = await this.#look(config.watch!.tokens);
    const isCheckpoint = this.step > 0 && this.checkpointIsDue;
    const { state, events, incident } = afterLook(this.#state, reading, config, isCheckpoint);
    this.#state = state;
    for (const event of events) await this.#session.events.append(event);
    if (incident !== null) await this.#addIncident(incident);
  }

  /** Newcomers took more of the step's selection than they may: true, and training has gone back to before them. */
  async newcomersRollBack(): Promise<boolean> {
    const { newcomers } = this.#state;
    if (newcomers === undefined) return false;
    const limit = this.#options.config.resampling?.maxWatchedShare ?? 1;
    if (newcomers.latest <= limit) return false;
    await this.#rollBack(newcomers.since, shareIncident(newcomers, limit, this.step));
    return true;
  }

  /** Writes down what became of the newcomers, who are no longer watched. */
  async settleNewcomers(): Promise<void> {
    const { state, event } = afterSettling(this.#state);
    this.#state = state;
    if (event !== null) await this.#session.events.append(event);
  }

  /** A guard check. True if it ended in going back to the checkpoint before the last resampling. */
  async guardRollsBack(): Promise<boolean> {
    const config = this.#options.config.guard!;
    const state = this.#state.guard!;
    const { ve, cut } = await this.#look(config.tokens);
    const reading = { ve, cut };
    await this.#session.events.append({ event: "guard", step: this.step, ...reading });
    const breach = findBreach(state, reading, config);
    if (breach === null) {
      this.#state = { ...this.#state, guard: afterGoodCheck(state, reading, this.#atBoundary) };
      return false;
    }
    const incident = incidentOf(breach, state, reading, this.step);
    if (state.probation !== null) {
      await this.#rollBack(state.probation, incident);
      return true;
    }
    this.#state = { ...this.#state, guard: firstGuardState(reading) };
    await this.#addIncident(incident);
    return false;
  }

  /**
   * Goes back to the checkpoint of `step`. The logs keep what was written since; a kill at any moment from here on resumes
   * from a checkpoint before the breach, and comes to the same breach and the same decision again.
   */
  async #rollBack(step: number, incident: Incident): Promise<void> {
    const target = await goBack(this.#options.dir, step, this.#session);
    this.#state = afterRollBack(this.#state, target.record.state);
    this.#lastCheckpoint = target;
    this.#seen = null;
    await this.#addIncident(incident);
    this.#pace.restart();
  }

  /** Writes a checkpoint of this moment (unless it is there), and removes those that are not needed any more. */
  async saveCheckpoint(): Promise<void> {
    const { dir } = this.#options;
    if (this.step === 0 || this.step === this.#lastCheckpoint?.record.state.step) return;
    const finished = this.isOver;
    if (finished) await this.#session.events.append(endEvent(this.#state));
    await this.#session.metrics.sync();
    await this.#session.events.sync();
    const seconds =
      (this.#session.checkpoint?.record.state.seconds ?? 0) + (performance.now() - this.#openedAt) / 1000;
    this.#lastCheckpoint = await writeCheckpoint(
      dir,
      this.#session.engine,
      this.#session.latents.tokensSinceFired,
      {
        state: { ...this.#state, seconds },
        run: this.#identity,
        logs: { metrics: this.#session.metrics.mark, events: this.#session.events.mark },
        finished,
      },
    );
    await pruneCheckpoints(dir);
    this.#pace.restart();
  }

  async close(): Promise<void> {
    await this.#batches.close();
    await this.#session.close();
  }
}
