/** The card's header, in the words that the hub, and with it SAELens, understands. */
import type { CardFacts } from "./facts.ts";

/** What the hub takes as `license`; it refuses a commit whose card has another word there. Any other is `other`, by name. */
const HUB_LICENSES = new Set(
  `apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
  artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
  cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
  cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
  cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
  lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openrail++
  osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2
  llama3.3 llama4 gemma unknown other`.split(/\s+/),
);

const TAGS = [
  "saelens",
  "sae",
  "sparse-autoencoder",
  "interpretability",
  "mechanistic-interpretability",
  "lapidary",
];

export function frontMatter({ license, isHubModel, model, datasets }: CardFacts): string {
  const lines = [
    ...licenseLines(license),
    "library_name: saelens",
    ...(isHubModel ? list("base_model", [withoutRevision(model)]) : []),
    ...(datasets.length > 0 ? list("datasets", [...new Set(datasets.map(withoutRevision))]) : []),
    ...list("tags", TAGS),
  ];
  return `---\n${lines.join("\n")}\n---`;
}

/** YAML; what may hold anything is quoted as JSON is. */
function list(key: string, values: readonly string[]): string[] {
  return [`${key}:`, ...values.map((value) => `- ${/^[\w-]+$/.test(value) ? value : JSON.stringify(value)}`)];
}

function licenseLines(license: string | null): string[] {
  if (license === null) return [];
  const id = license.toLowerCase();
  if (HUB_LICENSES.has(id)) return [`license: ${JSON.stringify(id)}`];
  const name = id.replace(/[^a-z0-9.]+/g, "-").replace(/^-+|-+$/g, "");
  return [`license: "other"`, `license_name: ${JSON.stringify(name || "unnamed")}`];
}

function withoutRevision(name: string): string {
  return name.replace(/@.*$/, "");
}
