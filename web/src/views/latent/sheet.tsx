/** All that the tables say of one latent, in sections; the same alone and side by side. */
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading } from "../../parts/heading.tsx";
import { ActivationHistogram, LogitHistogram } from "./charts.tsx";
import { Examples } from "./examples.tsx";
import { Explanations } from "./explanations.tsx";
import { Facts } from "./facts.tsx";
import { Logits } from "./logits.tsx";
import { Neighbours } from "./neighbours.tsx";
import type { SheetProps } from "./props.ts";
import { Splits } from "./splits.tsx";

export function LatentSheet(props: SheetProps) {
  const { detail, level } = props;
  return (
    <div class="sheet">
      <Facts {...props} />
      <Explanations {...props} />
      <div class="plots">
        <ActivationHistogram {...props} />
        <LogitHistogram {...props} />
      </div>
      <Logits {...props} />
      {detail.numbers.n_active === 0 ? (
        <section>
          <Heading level={level}>Examples</Heading>
          <p class="absent">
            It fires on none of the indexed tokens of {detail.manifest.data.sets.map(visibleText).join(", ")}.
          </p>
        </section>
      ) : (
        <Examples {...props} />
      )}
      <Neighbours {...props} />
      <Splits {...props} />
    </div>
  );
}
