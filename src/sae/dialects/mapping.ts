/**
 * Anything else, by explicit mapping: a file `<name>.mapping.json`, written by whoever knows what the tensors of a file
 * beside it mean. Every fact that could be guessed has to be said. The equations are those of `kernels.ts`.
 *
 *   { "file": "model.safetensors", "architecture": "standard", "applyBDecToInput": true,
 *     "encoder": { "tensor": "encoder.weight", "latents": "rows" }, "encoderBias": "encoder.bias",
 *     "decoder": { "tensor": "decoder.weight", "latents": "columns" }, "decoderBias": "b_dec" }
 */
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../../errors.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { readJson } from "../../storage/json.ts";
import { gatedAsJumprelu } from "../gated.ts";
import { plainConfig } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { expectTensors, laidOutRows, matrix, openFrom, storedDtype, transposed, vector } from "./tensors.ts";

const ENDING = ".mapping.json";
const MAX_BYTES = 1 << 20;

const tensor = z.string().min(1);
const matrixOf = z.strictObject({ tensor, latents: z.enum(["rows", "columns"]) });

const mappingSchema = z.strictObject({
  /** beside the mapping: .safetensors, the index of a sharded one, .npz or a torch checkpoint */
  file: z.string().regex(/^[^/\\]+$/, "a file in the same folder"),
  architecture: z.enum(["standard", "topk", "jumprelu", "gated"]),
  encoder: matrixOf,
  decoder: matrixOf,
  /** null: there is none. Of a gated SAE: the bias of the magnitudes. */
  encoderBias: tensor.nullable(),
  decoderBias: tensor.nullable(),
  applyBDecToInput: z.boolean(),
  normalization: z.enum(["none", "layer_norm", "constant_norm_rescale"]).default("none"),
  /** jumprelu: a tensor [dSae], or one number for all latents */
  threshold: z.union([tensor, z.number().finite()]).optional(),
  /** topk */
  k: z.number().int().positive().optional(),
  /** gated: bias of the gate, and the logarithm of the magnitudes' scale */
  gateBias: tensor.optional(),
  logScale: tensor.optional(),
  /** of a transcoder: where its output belongs */
  output: z.strictObject({ hookName: z.string().nullable() }).optional(),
  /** of a transcoder: x · skipᵀ is added, for a tensor [dOut, dIn] whose rows are outputs; columns: [dIn, dOut] */
  skip: z.strictObject({ tensor, outputs: z.enum(["rows", "columns"]) }).optional(),
  /** tensors that mean nothing for encoding and decoding */
  ignore: z.array(tensor).default([]),
  hookName: z.string().nullable().default(null),
  modelName: z.string().nullable().default(null),
  contextSize: z.number().int().positive().nullable().default(null),
  prependBos: z.boolean().nullable().default(null),
});

type Mapping = z.infer<typeof mappingSchema>;

export const byMapping: Dialect = {
  name: "explicit mapping",
  files: `<name>${ENDING} and the file it names`,
  recognises: ({ file }) => file?.endsWith(ENDING) === true,
  async open({ path, folder }) {
    const mapping = await readMapping(path);
    return openFrom(join(folder, mapping.file), (file) => open(path, mapping, file));
  },
};

async function readMapping(path: string): Promise<Mapping> {
  const parsed = mappingSchema.safeParse(await readJson(path, { maxBytes: MAX_BYTES }));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(path, `${issue.path.join(".") || "the mapping"}: ${issue.message}`);
  }
  const mapping = parsed.data;
  const needs = {
    jumprelu: ["threshold"],
    topk: ["k"],
    gated: ["gateBias", "logScale"],
    standard: [],
  } as const;
  for (const key of ["threshold", "k", "gateBias", "logScale"] as const) {
    const isNeeded = (needs[mapping.architecture] as readonly string[]).includes(key);
    if (isNeeded !== (mapping[key] !== undefined))
      throw new FormatError(
        path,
        `architecture ${mapping.architecture} ${isNeeded ? "needs" : "has no"} "${key}"`,
      );
  }
  if (mapping.output === undefined && mapping.skip !== undefined)
    throw new FormatError(path, 'a skip connection belongs to a transcoder: say its "output"');
  if (mapping.output !== undefined && mapping.applyBDecToInput)
    throw new FormatError(
      path,
      '"applyBDecToInput" is true, but a transcoder\'s decoder bias belongs to its output',
    );
  return mapping;
}

async function open(path: string, mapping: Mapping, file: TensorFile): Promise<OpenSae> {
  const { architecture, encoder, decoder, encoderBias, decoderBias, threshold, k, gateBias, logScale } =
    mapping;
  const { output, skip } = mapping;
  const named = [
    skip?.tensor,
    encoder.tensor,
    decoder.tensor,
    encoderBias,
    decoderBias,
    threshold,
    gateBias,
    logScale,
  ];
  expectTensors(
    file,
    `the mapping ${path}`,
    named.filter((name) => typeof name === "string"),
    mapping.ignore,
  );
  const layout = {
    encoder: { name: encoder.tensor, latents: encoder.latents },
    decoder: { name: decoder.tensor, latents: decoder.latents },
    encoderBias,
    decoderBias,
  };
  const rows = await laidOutRows(file, layout, output === undefined ? "SAE" : "transcoder");
  const { dIn, dSae, dOut } = rows;
  if (k !== undefined && k > dSae) throw new FormatError(path, `k is ${k}, there are ${dSae} latents`);
  const opened: OpenSae = {
    config: plainConfig({
      architecture: architecture === "gated" ? "jumprelu" : architecture,
      dIn,
      dSae,
      dtype: storedDtype(file, encoder.tensor),
      applyBDecToInput: mapping.applyBDecToInput,
      normalization: mapping.normalization,
      k: k ?? null,
      hookName: mapping.hookName,
      modelName: mapping.modelName,
      contextSize: mapping.contextSize,
      prependBos: mapping.prependBos,
      ...(output === undefined ? {} : { output: { dOut, hookName: output.hookName } }),
    }),
    threshold: threshold === undefined ? null : await thresholdsOf(file, threshold, dSae),
    ...(skip === undefined ? {} : { skip: await skipOf(file, skip, dOut, dIn) }),
    runnerConfig: null,
    rows,
    origin: { dialect: byMapping.name, architecture, notes: [`as ${path} says`] },
  };
  if (gateBias === undefined || logScale === undefined) return opened;
  const gate = { bGate: await vector(file, gateBias, dSae), rMag: await vector(file, logScale, dSae) };
  return { ...opened, ...(await gatedAsJumprelu(file.path, rows, gate)) };
}

async function skipOf(
  file: TensorFile,
  { tensor: name, outputs }: NonNullable<Mapping["skip"]>,
  dOut: number,
  dIn: number,
): Promise<Float32Array> {
  if (outputs === "rows") return matrix(file, name, dOut, dIn);
  return transposed(await matrix(file, name, dIn, dOut), dIn, dOut);
}

async function thresholdsOf(
  file: TensorFile,
  threshold: string | number,
  dSae: number,
): Promise<Float32Array> {
  return typeof threshold === "number"
    ? new Float32Array(dSae).fill(threshold)
    : vector(file, threshold, dSae);
}
