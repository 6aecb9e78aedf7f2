/**
 * Does a published SAE fit the model one runs? Evaluates the embedded base model's SAE on a few KB of text, once on the
 * base model it was made for and once on the instruction-tuned one. The gap between the two is what adapting closes.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { evaluateText, loadSae, selectEngine } from "lapidary/node";

const root = fileURLToPath(new URL("../", import.meta.url));
const text = await readFile(`${root}README.md`, "utf8");
const sae = await loadSae(`${root}assets/tiny-gemma/sae-base/layer_4`);
const { create } = await selectEngine();

for (const model of ["base", "it"]) {
  const { metrics, nTokens } = await evaluateText({
    sae,
    modelFolder: `${root}assets/tiny-gemma/${model}`,
    text,
    name: "README.md",
    createEngine: create,
  });
  const { ve, l0 } = metrics;
  console.log(
    `${model.padEnd(4)}  VE ${ve.value?.toFixed(3)}   L0 ${l0.value.toFixed(1)}   on ${nTokens} tokens`,
  );
  if (model === "it") console.log(`\nVE: ${ve.definition}\nL0: ${l0.definition}`);
}
