/** How strongly it fires, and what it does to all logits. */
import { short } from "../../../../src/report/numbers.ts";
import { Histogram } from "../../parts/histogram.tsx";
import type { SheetProps } from "./props.ts";

export function ActivationHistogram({ detail }: SheetProps) {
  const counts = detail.histograms?.activations ?? [];
  const { min_act, max_act } = detail.numbers;
  if (counts.length === 0) return null;
  return (
    <figure>
      <figcaption>
        <span class="title">Activations</span>{" "}
        <span class="caption">tokens by activation, where it fires</span>
      </figcaption>
      <Histogram
        title="Activations"
        xLabel="activation"
        yLabel="tokens"
        low={min_act}
        high={max_act}
        counts={counts}
        format={(value) => short(value, 3)}
        logCounts
      />
    </figure>
  );
}

export function LogitHistogram({ detail }: SheetProps) {
  const counts = detail.histograms?.logits;
  const { logit_min, logit_max, logit_mean, logit_std } = detail.numbers;
  if (counts === null || counts === undefined || counts.length === 0) return null;
  return (
    <figure>
      <figcaption>
        <span class="title">Logits</span>{" "}
        <span class="caption">
          vocabulary by logit per unit of activation; mean {short(logit_mean, 3)}, deviation{" "}
          {short(logit_std, 3)}
        </span>
      </figcaption>
      <Histogram
        title="Logits"
        xLabel="logit"
        yLabel="tokens"
        low={logit_min}
        high={logit_max}
        counts={counts}
        format={(value) => short(value, 3)}
        logCounts
      />
    </figure>
  );
}
