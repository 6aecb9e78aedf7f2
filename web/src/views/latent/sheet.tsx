/** All that the tables say of one latent, in sections; the same alone and side by side. */
import { visibleText } from "../../../../src/report/visible-text.ts";
import { loadLatent } from "../../data/latent.ts";
import { Heading } from "../../parts/heading.tsx";
import { Shown } from "../../parts/notices.tsx";
import { useLoaded } from "../../parts/use-loaded.ts";
import { ActivationHistogram, LogitHistogram } from "./charts.tsx";
import { Examples } from "./examples.tsx";
import { Explanations } from "./explanations.tsx";
import { Facts } from "./facts.tsx";
import { Logits } from "./logits.tsx";
import { Neighbours } from "./neighbours.tsx";
import type { SheetProps } from "./props.ts";
import { Splits } from "./splits.tsx";

export function LatentSheet(props: SheetProps) {
  const { index, latent, latents, level } = props;
  const detail = useLoaded(() => loadLatent(index, latent), `${index.id}/${latent}`);
  const isSilent = latents.numbers.n_active[latent] === 0;
  return (
    <div class="sheet">
      <Facts {...props} />
      <Shown of={detail} what={`latent ${latent}`}>
        {(value) => {
          const section = { ...props, detail: value };
          return (
            <>
              <Explanations {...section} />
              <div class="plots">
                <ActivationHistogram {...section} />
                <LogitHistogram {...section} />
              </div>
              <Logits {...section} />
              {isSilent ? (
                <section>
                  <Heading level={level}>Examples</Heading>
                  <p class="absent">
                    It fires on none of the indexed tokens of{" "}
                    {value.manifest.data.sets.map(visibleText).join(", ")}.
                  </p>
                </section>
              ) : (
                <Examples {...section} />
              )}
              <Neighbours {...section} />
              <Splits {...section} />
            </>
          );
        }}
      </Shown>
    </div>
  );
}
