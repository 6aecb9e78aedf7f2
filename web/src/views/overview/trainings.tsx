/** How training went: its curves, and what happened on the way. */
import type {
  LayerOverview,
  RunOverview,
  TrainingCurves,
  TrainingOverview,
} from "../../../../src/dashboard/overview.ts";
import { count, counted } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading, type Level } from "../../parts/heading.tsx";
import { LineChart } from "../../parts/line-chart.tsx";

type Curve = Exclude<keyof TrainingCurves, "step">;

const CURVES: readonly { readonly name: Curve; readonly title: string; readonly isLog?: boolean }[] = [
  { name: "ve", title: "Variance explained" },
  { name: "loss", title: "Loss", isLog: true },
  { name: "l0", title: "L0" },
  { name: "dead", title: "Dead latents" },
  { name: "threshold", title: "Threshold" },
  { name: "gradNorm", title: "Gradient norm", isLog: true },
  { name: "learningRate", title: "Learning rate" },
];
/** What happens so often that it is a mark in the charts, and not a line of the table. */
const IN_CHARTS_ONLY = "resampling";

export interface TrainingsProps {
  readonly run: RunOverview;
  readonly layer: LayerOverview;
  readonly level: Level;
}

export function Trainings({ run, layer, level }: TrainingsProps) {
  if (layer.trainings.length === 0) return null;
  return (
    <section>
      {layer.trainings.map((training) => (
        <Training key={training.name} training={training} run={run} level={level} />
      ))}
    </section>
  );
}

interface TrainingProps {
  readonly training: TrainingOverview;
  readonly run: RunOverview;
  readonly level: Level;
}

function Training({ training, run, level }: TrainingProps) {
  const { curves, heldOut, events } = training;
  return (
    <div class="training">
      <Heading level={level}>
        {training.name === "polish" ? "Polish" : "Training"}
        <span class="caption">
          {" "}
          {counted(training.nSteps, "step")}
          {training.isFinished ? "" : ", not finished"}
        </span>
      </Heading>
      <div class="panels">
        {CURVES.map(({ name, title, isLog }) => (
          <LineChart
            key={name}
            title={title}
            meaning={run.definitions[name]}
            xLabel="step"
            isLog={isLog === true && curves[name].every((value) => value > 0)}
            moments={events}
            lines={[
              { name: name === "ve" ? "in training" : "", series: "after", x: curves.step, y: curves[name] },
              ...(name === "ve" && heldOut.step.length > 0
                ? [
                    {
                      name: "held out",
                      series: "before" as const,
                      x: heldOut.step,
                      y: heldOut.ve,
                      hasDots: true,
                    },
                  ]
                : []),
            ]}
          />
        ))}
      </div>
      <Incidents training={training} />
    </div>
  );
}

function Incidents({ training }: { training: TrainingOverview }) {
  const told = training.events.filter(({ kind }) => kind !== IN_CHARTS_ONLY);
  const resamplings = training.events.length - told.length;
  return (
    <>
      {resamplings > 0 && <p class="caption">R: {counted(resamplings, "resampling")} of dead latents.</p>}
      {told.length === 0 ? (
        <p class="caption">Nothing went wrong.</p>
      ) : (
        <div class="scroll">
          <table class="incidents">
            <caption>What happened</caption>
            <thead>
              <tr>
                <th scope="col">Step</th>
                <th scope="col" class="text">
                  Kind
                </th>
                <th scope="col" class="text">
                  What
                </th>
              </tr>
            </thead>
            <tbody>
              {told.map(({ step, kind, text }, i) => (
                <tr key={i}>
                  <td>{count(step)}</td>
                  <td class={`text ${kind}`}>{kind}</td>
                  <td class="text what">{visibleText(text)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
