/** What was not measured, said in so many words: made from what is absent among the results. */
import type { CardFacts } from "./facts.ts";
import { code, thousands } from "./text.ts";

export function limitations(facts: CardFacts): string {
  const { sets, domains, contextSize, layers, splices, source, isImported, rows } = facts;
  const measured = [...new Set([...sets.map(({ name }) => name), ...domains.map(({ domain }) => domain)])];
  const longest = Math.max(contextSize, ...domains.map((domain) => domain.contextSize));
  const numbers = (some: CardFacts["layers"]) => some.map(({ layer }) => layer).join(", ");
  const unverified = layers.filter(({ verified }) => !verified);
  const unknownDead = layers.filter(({ deadInTraining }) => deadInTraining === null);
  const lines: (string | false)[] = [
    isImported
      ? `Measured on ${measured.map(code).join(", ")} only, activations made elsewhere: what texts they are of, and whether training saw them, is not known to this run.`
      : `Measured on ${measured.map(code).join(", ")} only; on other texts, other languages or contexts longer than ${thousands(longest)} tokens the fit was not measured.`,
    domains.length === 0 && !isImported && "Texts unlike those of the training were not measured.",
    "The hook point is exact: the output of the decoder layer of the model files named above. Another precision or quantisation of them is another model, and was not measured.",
    facts.excluded.length > 0 && "At the excluded positions nothing was trained and nothing measured.",
    splices.length === 0 && "What the SAEs do to the model's predictions was not measured.",
    splices.length > 0 &&
      !splices.some(({ phase }) => phase === "after") &&
      "What the trained SAEs do to the model's predictions was not measured.",
    source !== null &&
      rows.every(({ base = [] }) => base.length === 0) &&
      "The source SAEs were not measured on the model they were made for: how much of a gap was there to close is not known.",
    `One training run (seed ${facts.seed}): how much results differ between seeds was not measured here.`,
    facts.intervals === null &&
      "Without intervals: how much the numbers would differ on other documents is not known.",
    unknownDead.length > 0 &&
      `Dead latents in training's sense are not known for layers ${numbers(unknownDead)}: training was shorter than it looks back.`,
    unverified.length > 0 && `Not re-verified after saving: layers ${numbers(unverified)}.`,
    facts.publication === null && "The published files were not downloaded again and verified.",
    "What the latents mean was not measured: no automatic interpretation, no probes, no steering. Labels, if there are any elsewhere, are hypotheses.",
  ];
  return lines
    .filter((line) => line !== false)
    .map((line) => `- ${line}`)
    .join("\n");
}
