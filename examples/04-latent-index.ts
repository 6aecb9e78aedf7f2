/**
 * Which latents stand for what? Indexes the embedded base SAE of layer 4 on a text, then asks the index: which latents fire
 * often on few documents, what do they fire on, and what fires with them.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { embeddedText, indexSae, openIndex, selectEngine } from "lapidary/node";

const assets = fileURLToPath(new URL("../assets/tiny-gemma/", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "lapidary-example-"));

// every token of the text through the model and the SAE; what each latent does, as Parquet files
const engine = await selectEngine();
const { dir, manifest } = await indexSae({
  sae: `${assets}sae-base/layer_4`,
  model: `${assets}base`,
  texts: [await embeddedText("prose")],
  tokens: 2000,
  out: join(folder, "index"),
  createEngine: engine.create,
});
console.log(`${manifest.sae.dSae} latents on ${manifest.data.nTokens} tokens\n`);

const index = await openIndex(dir);
const labelled = await index.latents({
  sort: "n_active",
  descending: true,
  where: [
    { column: "label_kind", is: "=", value: "token" },
    { column: "label_precision", is: ">=", value: 0.8 },
  ],
  limit: 4,
});
for (const { latent, label, n_active, label_precision, label_recall } of labelled) {
  const { examples, neighbours } = await index.latent(latent);
  console.log(
    `latent ${latent} fires ${n_active} times, on ${label} (precision ${label_precision?.toFixed(2)}, recall ${label_recall?.toFixed(2)})`,
  );
  for (const { tokens, at, value } of examples.slice(0, 3)) {
    const text = [
      tokens.slice(Math.max(0, at - 8), at).join(""),
      tokens[at],
      tokens.slice(at + 1, at + 5).join(""),
    ];
    console.log(`  ${value.toFixed(2).padStart(6)}  ${JSON.stringify(`${text[0]}«${text[1]}»${text[2]}`)}`);
  }
  const together = neighbours.filter(({ kind }) => kind === "firing").slice(0, 3);
  console.log(
    `  fires with ${together.map(({ other, value }) => `${other} (${value.toFixed(2)})`).join(", ")}\n`,
  );
}

// any question, as SQL over the tables
const [counts] = await index.rows("SELECT count(*)::INTEGER AS silent FROM latents WHERE n_active = 0");
console.log(`${counts.silent} latents never fire here`);
index.close();
await rm(folder, { recursive: true });
