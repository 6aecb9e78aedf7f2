/** The numbers of a latent, each with its meaning. */
import { TABLES } from "../../../../src/dashboard/tables.ts";
import { count, fixed, percent, short, signed } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import type { SheetProps } from "./props.ts";

const MEANINGS: Readonly<Record<string, string>> = Object.fromEntries(
  TABLES.latents.columns.map(({ name, meaning }) => [name, meaning]),
);

export function Facts({ detail }: SheetProps) {
  const { numbers, label, labelKind, manifest } = detail;
  const value = (name: string) => numbers[name] ?? Number.NaN;
  const is = (name: string) => !Number.isNaN(value(name));
  const [density, before] = [value("density"), value("base_density")];
  const facts: (readonly [string, string, string] | false)[] = [
    [
      "density",
      "Density",
      `${percent(density)}, ${count(value("n_active"))} tokens in ${count(value("n_documents"))} documents`,
    ],
    is("base_density") && [
      "base_density",
      "Base density",
      `${percent(before)}${density > 0 && before > 0 ? `, ${signed(Math.log10(density / before), 2)} in log₁₀` : ""}`,
    ],
    is("max_act") && [
      "max_act",
      "Activation",
      `${short(value("min_act"))} … ${short(value("max_act"))}, mean ${short(value("mean_act"))}`,
    ],
    is("threshold") && ["threshold", "Threshold", short(value("threshold"))],
    is("decoder_drift_cosine") && [
      "decoder_drift_cosine",
      "Drift",
      `decoder ${fixed(value("decoder_drift_cosine"), 3)}, encoder ${fixed(value("encoder_drift_cosine"), 3)} (cosine to base)`,
    ],
    [
      "encoder_decoder_cosine",
      "Rows",
      `‖dec‖ ${short(value("decoder_norm"))}, ‖enc‖ ${short(value("encoder_norm"))}, cosine ${fixed(value("encoder_decoder_cosine"), 3)}, bEnc ${short(value("b_enc"))}`,
    ],
    manifest.sae.widths.length > 1 && ["level", "Level", count(value("level"))],
    value("dead_in_training") === 1 && ["dead_in_training", "Training", "dead at its end"],
    value("n_resampled") > 0 && ["n_resampled", "Resampled", `${count(value("n_resampled"))} times`],
  ];
  return (
    <dl class="facts">
      <div>
        <dt data-tip={MEANINGS.label}>Label</dt>
        <dd>
          {label === "" ? <span class="absent">none</span> : <bdi class="name">{visibleText(label)}</bdi>}
          {labelKind === "output" && <span class="caption"> from its logits alone</span>}
          {is("label_precision") && (
            <span class="caption">
              {" "}
              precision {percent(value("label_precision"))}, recall {percent(value("label_recall"))}
            </span>
          )}
        </dd>
      </div>
      {facts.map(
        (fact) =>
          fact !== false && (
            <div key={fact[0]}>
              <dt data-tip={MEANINGS[fact[0]]}>{fact[1]}</dt>
              <dd>{fact[2]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
