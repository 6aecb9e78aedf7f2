/**
 * The model card: Markdown made from measured numbers alone. `CardFacts` is filled from result files by the pipeline;
 * nothing in a card is written by hand, and what was not measured is not claimed: its section is left out, and the
 * limitations say so.
 */
import type { CardFacts } from "./facts.ts";
import { frontMatter } from "./front-matter.ts";
import { limitations } from "./limitations.ts";
import { citation, contents, lineage, verification } from "./lineage.ts";
import { caveats, everyMetric, results, spliced } from "./results.ts";
import { code, plain, plural, thousands } from "./text.ts";
import { deadLatents, incidents, training } from "./training.ts";
import { conventions, usage } from "./usage.ts";

const SECTIONS: readonly [heading: string, write: (facts: CardFacts) => string][] = [
  ["Does it fit?", results],
  ["Verification", verification],
  ["Use", usage],
  ["Hook point and conventions", conventions],
  ["Predictions with the SAEs spliced in", spliced],
  ["Every metric", everyMetric],
  ["Caveats of the evaluation", caveats],
  ["How it was trained", training],
  ["Dead latents", deadLatents],
  ["Incidents", incidents],
  ["Limitations", limitations],
  ["Licence and lineage", lineage],
  ["Files", contents],
  ["Citation", citation],
];

/** The whole card. */
export function renderCard(facts: CardFacts): string {
  const sections = SECTIONS.flatMap(([heading, write]) => {
    const text = write(facts);
    return text === "" ? [] : [`## ${heading}`, text];
  });
  return [frontMatter(facts), `# ${plain(facts.title)}`, summary(facts), ...sections]
    .join("\n\n")
    .concat("\n");
}

function summary({ model, source, layers, baseModel, isImported, training: t }: CardFacts): string {
  const list = layers.map(({ layer }) => layer).join(", ");
  const start =
    source === null
      ? "trained from scratch"
      : `continued from ${code(source)}${baseModel === null ? "" : `, which was made for ${code(baseModel)}`}`;
  const measured = isImported
    ? "The fit below was measured on activations made elsewhere and imported as held-out sets."
    : "The fit below was measured on texts that the training did not see.";
  const sizes = [...new Set(layers.map(({ dSae }) => thousands(dSae)))].join(", ");
  const widths = [...new Set(layers.map((layer) => layer.widths.map(thousands).join(" / ")))];
  const nested = layers.some((layer) => layer.widths.length > 1)
    ? `, nested widths ${widths.join("; ")}`
    : "";
  const ks = [...new Set(layers.flatMap(({ k }) => (k === null ? [] : [k])))];
  const sparsity = ks.length === 0 ? "" : `, k ${ks.join(", ")}`;
  return `Sparse autoencoders for the residual stream of ${code(model)} after decoder layer${layers.length > 1 ? "s" : ""} ${list}, ${start}: ${sizes} latents${nested}${sparsity}; ${plural(t.nKept, "training token")} in ${plural(t.epochs, "epoch")}. ${measured}`;
}
