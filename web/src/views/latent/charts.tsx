/** How strongly it fires, and what it does to all logits. */
import { short } from "../../../../src/report/numbers.ts";
import { Histogram } from "../../parts/histogram.tsx";
import type { SectionProps } from "./props.ts";

export function ActivationHistogram({ detail, latents, latent }: SectionProps) {
  const counts = detail.histograms?.activations ?? [];
  const { min_act, max_act } = latents.numbers;
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
        low={min_act[latent]}
        high={max_act[latent]}
        counts={counts}
        format={(value) => short(value, 3)}
        logCounts
      />
    </figure>
  );
}

export function LogitHistogram({ detail, latents, latent }: SectionProps) {
  const counts = detail.histograms?.logits;
  const { logit_min, logit_max, logit_mean, logit_std } = latents.numbers;
  if (counts === null || counts === undefined || counts.length === 0) return null;
  return (
    <figure>
      <figcaption>
        <span class="title">Logits</span>{" "}
        <span class="caption">
          vocabulary by logit per unit of activation; mean {short(logit_mean[latent], 3)}, deviation{" "}
          {short(logit_std[latent], 3)}
        </span>
      </figcaption>
      <Histogram
        title="Logits"
        xLabel="logit"
        yLabel="tokens"
        low={logit_min[latent]}
        high={logit_max[latent]}
        counts={counts}
        format={(value) => short(value, 3)}
        logCounts
      />
    </figure>
  );
}
