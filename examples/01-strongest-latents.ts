/**
 * Which latents fire on a sentence? Runs it through the embedded base model up to decoder layer 4, encodes the residual
 * stream with that layer's SAE, and prints the strongest latents of every token.
 */
import { fileURLToPath } from "node:url";
import {
  loadSae,
  openInference,
  openResidualModel,
  readTokenizerFolder,
  selectEngine,
  Tokenizer,
  TokenizerPool,
  windowsFromText,
} from "lapidary/node";

const SENTENCE = "The old lighthouse keeper counted the ships that passed before midnight.";
const LAYER = 4;
const SHOWN = 5;

const assets = fileURLToPath(new URL("../assets/tiny-gemma/", import.meta.url));
const modelFolder = `${assets}base`;

// text → token ids; the tokenizer works in a thread of its own, under a time limit
const pool = await TokenizerPool.open(modelFolder, { workers: 1 });
const windows = await windowsFromText(SENTENCE, pool, 64);
await pool.close();

// token ids → residual stream after layer 4: [nTokens, dIn], one row a token
const nTokens = windows.lengths[0];
const tokenIds = windows.tokenIds.slice(0, nTokens);
const model = await openResidualModel(modelFolder, { layers: [LAYER] });
const [residual] = await model.run({ nWindows: 1, seqLen: nTokens, tokenIds, lengths: windows.lengths });
await model.close();

// residual stream → sparse latents
const sae = await loadSae(`${assets}sae-base/layer_${LAYER}`);
const engine = await selectEngine();
const inference = await openInference(sae, engine.create);
const { offsets, latents, values } = await inference.encode(residual);
await inference.dispose();

const tokenizer = new Tokenizer(await readTokenizerFolder(modelFolder));
const textOf = (id: number) => JSON.stringify(new TextDecoder().decode(tokenizer.bytesOf(id) ?? undefined));
console.log(
  `${engine.description}; layer ${LAYER}, ${sae.config.dSae} latents. Strongest ${SHOWN} of each token:\n`,
);
for (let t = 0; t < nTokens; t++) {
  if (windows.keep[t] === 0) continue; // BOS: the SAE was not made for it
  const strongest = Array.from(latents.subarray(offsets[t], offsets[t + 1]), (latent, i) => ({
    latent,
    value: values[offsets[t] + i],
  }))
    .sort((a, b) => b.value - a.value)
    .slice(0, SHOWN);
  const shown = strongest.map(({ latent, value }) => `${latent} (${value.toFixed(2)})`).join("  ");
  console.log(
    `${textOf(tokenIds[t]).padEnd(14)} ${String(offsets[t + 1] - offsets[t]).padStart(3)} active: ${shown}`,
  );
}
