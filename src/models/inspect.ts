/** What can be said of a model from its files alone, without running it. */
import { LapidaryError } from "../errors.ts";
import { readModelFolder, type WeightFile } from "./model-files.ts";
import { quantizesDynamically } from "./open-model.ts";
import { findResidualStream, type ResidualStream } from "./residual-stream.ts";

/** One ONNX graph of a model. */
export interface GraphSummary {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly producer: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly nNodes: number;
  readonly inputs: readonly { readonly name: string; readonly shape: readonly (number | string | null)[] }[];
  readonly outputs: readonly string[];
}

/** What was found in a model folder. */
export interface ModelInspection {
  readonly dir: string;
  readonly layout: "single" | "embeds";
  readonly dtype: string;
  readonly graphs: readonly GraphSummary[];
  /** external weights; `bytes` null = missing */
  readonly weights: readonly WeightFile[];
  readonly tokenizerFiles: readonly string[];
  readonly modelType: string | null;
  readonly dIn: number | null;
  readonly vocabSize: number | null;
  readonly contextSize: number | null;
  readonly dynamicQuantization: boolean;
  /** null when it was not found; `problem` says why */
  readonly residual: {
    readonly nLayers: number;
    readonly addsPerLayer: number;
    readonly numberedBy: ResidualStream["numberedBy"];
    /** tensor after each layer; "a + b" where the graph holds the sum only inside a fused node */
    readonly tensors: readonly string[];
  } | null;
  readonly problem: string | null;
}

/**
 * Looks at the model in folder `dir`. A residual stream that cannot be found is reported, not thrown.
 * @throws {ModelError} no model there, or several and none chosen  @throws {FormatError} a damaged or refused file
 */
export async function inspectModel(dir: string, options: { dtype?: string } = {}): Promise<ModelInspection> {
  const folder = await readModelFolder(dir, options);
  const { config, decoder } = folder;
  let stream: ResidualStream | null = null;
  let problem: string | null = null;
  try {
    stream = findResidualStream(decoder.model, config.nLayers);
  } catch (error) {
    if (!(error instanceof LapidaryError)) throw error;
    problem = error.message;
  }
  const graphs = folder.embed === null ? [decoder] : [folder.embed, decoder];
  return {
    dir,
    layout: folder.files.layout,
    dtype: folder.files.dtype,
    graphs: graphs.map(({ name, bytes, sha256, model }) => ({
      name,
      bytes,
      sha256,
      producer: model.producer,
      opsets: Object.fromEntries(model.opsets),
      nNodes: model.nodes.length,
      inputs: model.inputs.map((input) => ({ name: input.name, shape: input.shape ?? [] })),
      outputs: model.outputs.map((output) => output.name),
    })),
    weights: folder.weights,
    tokenizerFiles: folder.files.tokenizer,
    modelType: config.modelType,
    dIn: config.dIn,
    vocabSize: config.vocabSize,
    contextSize: config.contextSize,
    dynamicQuantization: quantizesDynamically(folder),
    residual:
      stream === null
        ? null
        : {
            nLayers: stream.layers.length,
            addsPerLayer: stream.addsPerLayer,
            numberedBy: stream.numberedBy,
            tensors: stream.layers.map((point) => point.tensor ?? point.sumOf.join(" + ")),
          },
    problem,
  };
}
