/** How the SAEs are used, and what they must be given: the part of a card that people copy from. */
import type { CardFacts } from "./facts.ts";
import { code, joined, ranges, table, thousands } from "./text.ts";

export function usage({ layers, publication, model, isHubModel }: CardFacts): string {
  const { id, hookPoint } = layers[0];
  const fromHub =
    publication === null
      ? ""
      : `With [SAELens](https://github.com/decoderesearch/SAELens), from the hub:

\`\`\`python
from sae_lens import SAE

sae = SAE.from_pretrained("${publication.repository}", "${id}")
latents = sae.encode(residual)  # residual [..., d_in]: output of ${hookPoint}
reconstruction = sae.decode(latents)
\`\`\``;
  return joined([
    fromHub,
    `${publication === null ? "With [SAELens](https://github.com/decoderesearch/SAELens), from" : "From"} a copy of this repository:

\`\`\`python
from sae_lens import SAE

sae = SAE.load_from_disk("${id}")  # the folder in this repository
latents = sae.encode(residual)  # residual [..., d_in]: output of ${hookPoint}
reconstruction = sae.decode(latents)
\`\`\``,
    `With Lapidary in Node, no Python needed:

\`\`\`js
import { loadSae, openInference, selectEngine } from "lapidary/node";

const sae = await loadSae("${publication === null ? id : `hf:${publication.repository}/${id}`}");
const { create } = await selectEngine();
const inference = await openInference(sae, create);
// residual: Float32Array [tokens, d_in]; acts: the active latents of each token, as compressed rows
const { acts, recon } = await inference.reconstruct(residual);
await inference.dispose();
\`\`\``,
    `On the command line: what is in the folder; whether it is what was published; whether it fits a model on your own text:

\`\`\`sh
lapidary inspect ${id}
lapidary check ${id} --hashes
lapidary eval ${id} --model ${isHubModel ? `hf:${model}` : "model-folder"} --text some.txt
\`\`\``,
  ]);
}

/** Which activation, and what was done to the tokens before it: an SAE used otherwise is another SAE. */
export function conventions(facts: CardFacts): string {
  const { layers, activationDtype, isImported, contextSize, prependBos, bosTokenId, excluded } = facts;
  const rows = layers.map(({ layer, hookPoint, hookName, dIn, architecture, dtype }) => [
    String(layer),
    code(hookPoint),
    `output of ${code(hookName)}`,
    thousands(dIn),
    code(architecture),
    code(dtype),
  ]);
  const transforms = [...new Set(layers.map(({ inputTransform }) => inputTransform))];
  const bos = prependBos
    ? `prepended to every window${bosTokenId === null ? "" : ` (token id ${bosTokenId})`}`
    : "not prepended";
  const lines = [
    "- **Activation**: the residual stream after the decoder layer (layers count from 0), with the skip connection added, before the norm that comes next.",
    ...transforms.map((transform) => `- **Input**: ${transform}.`),
    `- **Precision**: activations in ${activationDtype}; SAEs computed in float32.`,
    ...(isImported
      ? ["- **Tokens**: activations were made elsewhere; which tokens they are of is not recorded here."]
      : [
          `- **BOS**: ${bos}.`,
          excluded.length === 0
            ? "- **Excluded positions**: none."
            : `- **Excluded positions**: those that hold token ids ${ranges(excluded)} were left out of training and evaluation; there the SAE is untrained.`,
          `- **Context**: ${thousands(contextSize)} tokens a window.`,
          facts.chatTemplateHash === null
            ? ""
            : `- **Chats**: rendered by the model's own template, sha-256 ${code(facts.chatTemplateHash)}.`,
        ]),
  ].filter((line) => line !== "");
  const contract = layers.some(({ hasContract }) => hasContract)
    ? `The same for machines, with eight inputs and what the SAE computes from them: ${code("contract.json")} in each folder. ${code("lapidary check")} compares a copy with it.`
    : "";
  return joined([
    table(["layer", "hook point", "in transformers", "d_in", "architecture", "weights"], rows),
    lines.join("\n"),
    contract,
  ]);
}
