/** Reads a model's folder: chooses its files, parses its graphs, finds the residual stream, checks the external weights. */
import type { Dirent } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { FormatError, ModelError } from "../errors.ts";
import { hashBytes } from "../storage/hash.ts";
import { chooseModelFiles, type ModelFiles } from "./layout.ts";
import { type ModelConfig, NO_CONFIG, readModelConfig } from "./model-config.ts";
import { relocateWeights } from "./onnx-cut.ts";
import { MAX_GRAPH_BYTES, type OnnxModel, parseOnnx } from "./onnx-model.ts";

/** A graph file, read and parsed. */
export interface GraphFile {
  /** relative to the model's folder, with forward slashes */
  readonly name: string;
  /** absolute folder, where external weights lie */
  readonly folder: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly model: OnnxModel;
}

/** A file of external weights; `bytes` is null when it is not there. */
export interface WeightFile {
  readonly name: string;
  readonly bytes: number | null;
  /** what the graph expects at least */
  readonly neededBytes: number;
}

export interface ModelFolder {
  readonly dir: string;
  readonly files: ModelFiles;
  readonly config: ModelConfig;
  readonly decoder: GraphFile;
  readonly embed: GraphFile | null;
  readonly weights: readonly WeightFile[];
}

const MAX_FILES = 20_000;
const MAX_DEPTH = 3;

/**
 * Reads the model in folder `dir`. Weights are not touched, only looked for.
 * @throws {ModelError} no model there, or several and none chosen  @throws {FormatError} a damaged file
 */
export async function readModelFolder(dir: string, options: { dtype?: string } = {}): Promise<ModelFolder> {
  const files = chooseModelFiles(await listFiles(dir), options);
  const configName = files.config.find((name) => /(^|\/)(genai_)?config\.json$/.test(name));
  const config = configName === undefined ? NO_CONFIG : await readModelConfig(join(dir, configName));
  const decoder = await readGraph(dir, files.decoder);
  const embed = files.embed === null ? null : await readGraph(dir, files.embed);
  const graphs = embed === null ? [decoder] : [embed, decoder];
  return { dir, files, config, decoder, embed, weights: await findWeights(dir, graphs) };
}

/** @throws {ModelError} a file of external weights is missing or shorter than the graph says; names it */
export function requireWeights(folder: ModelFolder): void {
  for (const { name, bytes, neededBytes } of folder.weights) {
    if (bytes === null)
      throw new ModelError(`the weights file ${join(folder.dir, name)} is missing`, {
        hint: "It belongs to the model, beside its .onnx file: download it too.",
      });
    if (bytes < neededBytes)
      throw new ModelError(
        `the weights file ${join(folder.dir, name)} has ${bytes} bytes, the graph needs ${neededBytes}`,
        { hint: "It is cut short, or belongs to another graph: download it again." },
      );
  }
}

async function listFiles(dir: string): Promise<string[]> {
  const names: string[] = [];
  const walk = async (folder: string, depth: number): Promise<void> => {
    const entries: Dirent[] = await readdir(join(dir, folder), { withFileTypes: true }).catch(
      (error: NodeJS.ErrnoException) => {
        if (depth > 0) return [];
        throw new ModelError(`no model folder at ${dir} (${error.code ?? error.message})`, {
          hint: "Name a folder with ONNX files, or a Hugging Face repository as owner/name.",
        });
      },
    );
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = folder + entry.name;
      const isFolder =
        entry.isDirectory() || (entry.isSymbolicLink() && (await isDirectory(join(dir, name))));
      if (!isFolder) names.push(name);
      else if (depth < MAX_DEPTH && !entry.name.startsWith(".")) await walk(name + "/", depth + 1);
      if (names.length > MAX_FILES)
        throw new ModelError(`${dir} holds more than ${MAX_FILES} files`, {
          hint: "Name the model's own folder.",
        });
    }
  };
  await walk("", 0);
  return names;
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}

async function readGraph(dir: string, name: string): Promise<GraphFile> {
  const path = join(dir, name);
  const { size } = await stat(path);
  if (size > MAX_GRAPH_BYTES)
    throw new FormatError(path, `${size} bytes; an ONNX graph file cannot be longer than 2 GiB`, {
      hint: "Export the model with its weights in external data files (.onnx_data).",
    });
  const bytes = await readFile(path);
  return {
    name,
    bytes: size,
    sha256: hashBytes(bytes),
    ...(await followLinks(parseOnnx(bytes, path), resolve(dirname(path)))),
  };
}

/**
 * Download caches keep files under their hashes and link to them; ONNX Runtime refuses weights behind links. If all
 * of a graph's weights lie in one folder behind their links, that folder and those names are given to it instead.
 */
async function followLinks(model: OnnxModel, folder: string): Promise<{ model: OnnxModel; folder: string }> {
  const targets = new Map<string, string>();
  for (const { location } of model.external) {
    const target = await realpath(join(folder, location)).catch(() => null);
    if (target !== null) targets.set(location, target);
  }
  const here = await realpath(folder);
  if ([...targets].every(([location, target]) => target === join(here, location))) return { model, folder };
  const folders = new Set([...targets.values()].map((target) => dirname(target)));
  if (folders.size > 1)
    throw new ModelError(
      `${model.file}: its weights are links into several folders: ${[...folders].join(", ")}`,
      {
        hint: "Copy the files themselves into the model's folder.",
      },
    );
  const name = (location: string) => basename(targets.get(location) ?? location);
  return { model: relocateWeights(model, name), folder: [...folders][0] };
}

async function findWeights(dir: string, graphs: readonly GraphFile[]): Promise<WeightFile[]> {
  const needed = new Map<string, number>();
  for (const graph of graphs) {
    const folder = graph.name.slice(0, graph.name.lastIndexOf("/") + 1);
    for (const { location, offset, length } of graph.model.external) {
      const name = folder + location;
      needed.set(name, Math.max(needed.get(name) ?? 0, offset + (length ?? 0)));
    }
  }
  return Promise.all(
    [...needed].map(async ([name, neededBytes]) => {
      const info = await stat(join(dir, name)).catch(() => null);
      return { name, bytes: info?.isFile() ? info.size : null, neededBytes };
    }),
  );
}
