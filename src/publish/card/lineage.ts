/** Where everything came from, under which terms, how to cite it, and the files that say so. */
import type { CardFacts, CardLayer } from "./facts.ts";
import { code, joined, plain, thousands } from "./text.ts";

export function lineage(facts: CardFacts): string {
  const { source, baseModel, license, model, modelFiles, software, isImported } = facts;
  const files = modelFiles.map(
    ({ name, sha256, bytes }) =>
      `  - ${code(name)}: ${sha256 === null ? `${thousands(bytes)} bytes` : `sha-256 ${code(sha256)}`}`,
  );
  const harvested = isImported
    ? `- **Model**: ${code(model)}; activations were made elsewhere and imported. Its own terms apply.`
    : `- **Model**: ${code(model)}, from these files. Its own terms apply.\n${files.join("\n")}`;
  const data = facts.training.sources.map(({ location }) => code(location));
  const lines = [
    `- **Licence of these SAEs**: ${license === null ? "not stated yet" : code(license)}.`,
    source === null
      ? "- **Source SAE**: none; trained from scratch."
      : `- **Source SAE**: ${code(source)}${baseModel === null ? "" : `, made for ${code(baseModel)}`}. ${declared(facts)}`,
    harvested,
    ...(data.length === 0 || isImported
      ? []
      : [
          `- **Data**: ${data.join(", ")}. Their own terms apply. Of the held-out texts, a few words around badly reconstructed tokens stand in the result files and in the report.`,
        ]),
    `- **Software**: ${Object.entries(software)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
  ];
  return lines.join("\n");
}

function declared({ sourceLicense }: CardFacts): string {
  if (sourceLicense === null) return "Which licence its repository declares was not looked up.";
  return sourceLicense.declared === null
    ? "Its repository declares no licence."
    : `Its repository declares the licence ${code(sourceLicense.declared)}.`;
}

export function verification({ publication, files }: CardFacts): string {
  if (publication === null) return "";
  const { repository, revision, tolerance, layers } = publication;
  const some = layers.length > 1;
  const record = files.includes("verification.json")
    ? "[verification.json](verification.json)"
    : code("verification.json");
  return `Revision ${code(revision)} of ${code(repository)} was downloaded into an empty folder, and the SAE${some ? "s" : ""} of layer${some ? "s" : ""} ${layers.map(({ layer }) => layer).join(", ")} loaded from it and evaluated again on the held-out sets. The files hash to what was recorded when they were saved, and every metric is the recorded one to ${tolerance}. The hashes are in ${record}.`;
}

/** Links to what is published beside the card. */
export function contents({ files, layers, links }: CardFacts): string {
  const known = new Set(files);
  const link = (path: string, text: string) => (known.has(path) ? [`[${text}](${encodeURI(path)})`] : []);
  const list = (what: string, parts: readonly string[]) =>
    parts.length === 0 ? [] : [`- ${what}: ${parts.join(", ")}`];
  const perLayer = layers.flatMap(({ layer, id, hookPoint }) => [
    ...list(
      `Layer ${layer}`,
      ["sae_weights.safetensors", "cfg.json", "sparsity.safetensors", "contract.json"].flatMap((name) =>
        link(`${id}/${name}`, name),
      ),
    ),
    ...list(
      `Results of layer ${layer}`,
      ["before", "prepolish", "after", "latents"].flatMap((name) =>
        link(`evals/${hookPoint}.${name}.json`, name),
      ),
    ),
    ...list(
      `Logs of layer ${layer}`,
      ["", ".polish"].flatMap((kind) =>
        ["metrics", "events"].flatMap((name) =>
          link(`train/${hookPoint}${kind}/${name}.jsonl`, kind === "" ? name : `${name} of the polish`),
        ),
      ),
    ),
  ]);
  const rest = [
    ...list(
      "Predictions with the SAEs spliced in",
      ["before", "after"].flatMap((phase) => link(`evals/splice.${phase}.json`, phase)),
    ),
    ...list(
      "Everything on one page, with charts; opens offline",
      link("report/index.html", "report/index.html"),
    ),
  ];
  const elsewhere = links.map(({ name, url }) => `- Elsewhere: [${plain(name)}](${url})`);
  return [...perLayer, ...rest, ...elsewhere].join("\n");
}

/** Where each method was described. */
const PAPERS: Readonly<Record<string, string>> = {
  matryoshka_batchtopk:
    "Matryoshka SAEs: Bussmann et al. 2025, [arXiv:2503.17547](https://arxiv.org/abs/2503.17547)",
  batchtopk: "BatchTopK: Bussmann et al. 2024, [arXiv:2412.06410](https://arxiv.org/abs/2412.06410)",
  topk: "TopK SAEs: Gao et al. 2024, [arXiv:2406.04093](https://arxiv.org/abs/2406.04093)",
  gated: "Gated SAEs: Rajamanoharan et al. 2024, [arXiv:2404.16014](https://arxiv.org/abs/2404.16014)",
  jumprelu: "JumpReLU SAEs: Rajamanoharan et al. 2024, [arXiv:2407.14435](https://arxiv.org/abs/2407.14435)",
};

export function citation({ run, title, publication, layers }: CardFacts): string {
  const key = run.replace(/[^A-Za-z0-9]+/g, "-");
  const where =
    publication === null
      ? ""
      : `,\n  howpublished = {\\url{https://huggingface.co/${publication.repository}}},\n  note = {Revision ${publication.revision}}`;
  const entry = `\`\`\`bibtex
@misc{${key},
  title = {${title.replace(/[{}\\`\s]+/g, " ").trim()}}${where}
}
\`\`\``;
  const methods = [...new Set(layers.flatMap(methodsOf))].map((method) => `- ${PAPERS[method]}`);
  return joined([entry, methods.length === 0 ? "" : `The method:\n\n${methods.join("\n")}`]);
}

function methodsOf({ trainedAs, learntRule }: CardLayer): string[] {
  const method = learntRule?.architecture ?? trainedAs ?? "";
  const methods = method === "matryoshka_batchtopk" ? [method, "batchtopk"] : [method];
  return methods.filter((name) => Object.hasOwn(PAPERS, name));
}
