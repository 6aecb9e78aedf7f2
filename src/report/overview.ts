/** The facts of a run as the page of `lapidary serve` is given them: what the report says, as plain numbers. */
import type {
  Estimate,
  LayerOverview,
  MeasurementOverview,
  RunOverview,
  TrainingCurves,
  TrainingMoment,
  TrainingOverview,
} from "../dashboard/overview.ts";
import type { Metric } from "../evals/metrics.ts";
import type { MetricsLine } from "../train/metrics.ts";
import type { LayerFacts, Measurement, ReportFacts, TrainingEvent, TrainingFacts } from "./facts.ts";
import { definitionsOf } from "./sections/reference.ts";
import { courses, heldOut, inWords, momentsOf, thin } from "./training-log.ts";
import { headline, judgeLayer, reasons } from "./verdict.ts";

/** Points of a curve, at most. */
const MOST_POINTS = 400;

export function overviewOf(facts: ReportFacts): RunOverview {
  const { run, title, model, baseModel, source, gate, sets, layers, splices, provenance } = facts;
  return {
    run,
    title,
    headline: headline(facts),
    model,
    baseModel,
    source,
    gate,
    sets,
    layers: layers.map((layer) => layerOverview(layer, gate)),
    splices: splices.map(({ phase, result }) => ({
      phase,
      set: result.set,
      layers: result.layers,
      nTokens: result.nTokens,
      nDocuments: result.nDocuments,
      metrics: estimates(result.metrics),
    })),
    definitions: Object.fromEntries(definitionsOf(facts)),
    provenance,
  };
}

function layerOverview(layer: LayerFacts, gate: number | null): LayerOverview {
  return {
    layer: layer.layer,
    hookName: layer.hookName,
    measurements: layer.measurements.map(measurementOverview),
    nDeadInTraining: layer.deadInTraining,
    trainings: layer.trainings.map(trainingOverview),
    verdicts: (["before", "after"] as const).flatMap((phase) => {
      const [worst] = judgeLayer(layer, phase, gate);
      if (worst === undefined) return [];
      return [{ phase, verdict: worst.verdict, set: worst.set, reasons: reasons(worst) }];
    }),
  };
}

function measurementOverview({ phase, set, isDomain, result, change }: Measurement): MeasurementOverview {
  const { floor, binWidth, counts } = result.latents.frequencyHistogram;
  return {
    phase,
    set,
    isDomain,
    nTokens: result.nTokens,
    nDocuments: result.nDocuments,
    saeHash: result.sae.hash,
    metrics: estimates(result.metrics),
    veChange: change && estimate(change.difference, change.interval),
    nLatents: result.latents.nLatents,
    nNeverFired: result.latents.nNeverFired,
    densities: { floor, binWidth, counts },
  };
}

type Measured = Pick<Metric<number | null>, "value" | "interval">;

function estimates<Name extends string>(metrics: Readonly<Record<Name, Measured>>): Record<string, Estimate> {
  return Object.fromEntries(
    Object.entries<Measured>(metrics).map(([name, { value, interval }]) => [name, estimate(value, interval)]),
  );
}

function estimate(value: number | null, interval: Measured["interval"]): Estimate {
  return { value, low: interval?.low ?? null, high: interval?.high ?? null };
}

function trainingOverview({ name, metrics, events }: TrainingFacts): TrainingOverview {
  const { final } = courses(metrics);
  const read = heldOut(events);
  return {
    name,
    nSteps: final.at(-1)?.step ?? 0,
    isFinished: events.some(({ event }) => event === "end"),
    curves: curvesOf(final),
    heldOut: { step: read.map(({ step }) => step), ve: read.map(({ ve }) => ve) },
    events: events.flatMap(momentOf),
  };
}

function curvesOf(lines: readonly MetricsLine[]): TrainingCurves {
  const curve = (pick: (line: MetricsLine) => number) =>
    thin(
      lines.map((line) => [line.step, pick(line)] as const),
      MOST_POINTS,
    ).points.map(([, value]) => value);
  return {
    step: curve(({ step }) => step),
    loss: curve(({ loss }) => loss),
    ve: curve(({ ve }) => ve),
    l0: curve(({ l0 }) => l0),
    threshold: curve(({ threshold }) => threshold),
    dead: curve(({ dead }) => dead),
    gradNorm: curve(({ gradNorm }) => gradNorm),
    learningRate: curve(({ learningRate }) => learningRate),
  };
}

/** What the report's charts mark, in the report's words. */
function momentOf(event: TrainingEvent): TrainingMoment[] {
  return momentsOf([event]).map(({ kind, tip }) => ({
    step: event.step,
    kind,
    text: kind === "resampling" ? tip.replace(/^step [^:]*: /, "") : inWords(event),
  }));
}
