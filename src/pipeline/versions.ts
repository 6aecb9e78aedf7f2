/** Versions of Lapidary, Node and the libraries whose behaviour a result depends on. */
import { fileURLToPath } from "node:url";
import { readJson } from "../storage/json.ts";

interface PackageFile {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

const SHOWN = ["onnxruntime-node", "@huggingface/tokenizers", "@huggingface/jinja"] as const;

export async function softwareVersions(): Promise<Record<string, string>> {
  const file = await readJson<PackageFile>(fileURLToPath(new URL("../../package.json", import.meta.url)));
  const libraries = SHOWN.map((name) => [name, file.dependencies[name]]);
  return { lapidary: file.version, node: process.versions.node, ...Object.fromEntries(libraries) };
}
