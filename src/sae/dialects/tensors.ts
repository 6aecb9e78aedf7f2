/**
 * What dialects do with a file of tensors: see that it holds the names they know and no others, that shapes agree and
 * values are finite, and give the four parameters as rows of latents whichever way round they are stored.
 */
import { FormatError, UnsupportedError } from "../../errors.ts";
import { openTensorFile } from "../../formats/sharded-safetensors.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import type { WeightRows } from "../../kernels/weight-rows.ts";
import type { SaeConfig } from "../sae.ts";
import type { OpenSae } from "./dialect.ts";

/** A matrix in its file: its name, and whether latents are its rows or its columns. */
export interface StoredMatrix {
  readonly name: string;
  readonly latents: "rows" | "columns";
}

/** Where the four parameters are. A bias that the dialect leaves out is null, and zero. */
export interface Layout {
  readonly encoder: StoredMatrix;
  readonly decoder: StoredMatrix;
  /** [dSae] */
  readonly encoderBias: string | null;
  /** [dOut] */
  readonly decoderBias: string | null;
}

export interface LaidOutRows extends WeightRows {
  readonly dOut: number;
}

/** What `open` makes of a file of tensors, which is closed if it fails, and else with the rows. */
export async function openFrom(path: string, open: (file: TensorFile) => Promise<OpenSae>): Promise<OpenSae> {
  const file = await openTensorFile(path);
  try {
    return await open(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The layout of x · W_enc [dIn, dSae] and a · W_dec [dSae, dOut], for names that differ only in spelling. */
export function plainLayout(
  encoder: string,
  decoder: string,
  encoderBias: string,
  decoderBias: string,
): Layout {
  return {
    encoder: { name: encoder, latents: "columns" },
    decoder: { name: decoder, latents: "rows" },
    encoderBias,
    decoderBias,
  };
}

/** The layout whose two matrices are both [dSae, …]: latents are rows. */
export function rowLayout(
  encoder: string,
  decoder: string,
  encoderBias: string,
  decoderBias: string,
): Layout {
  return {
    encoder: { name: encoder, latents: "rows" },
    decoder: { name: decoder, latents: "rows" },
    encoderBias,
    decoderBias,
  };
}

/** The layout of two torch.nn.Linear: encoder.weight [dSae, dIn], decoder.weight [dOut, dSae]. */
export function linearLayout(encoderBias: string | null, decoderBias: string): Layout {
  return {
    encoder: { name: "encoder.weight", latents: "rows" },
    decoder: { name: "decoder.weight", latents: "columns" },
    encoderBias,
    decoderBias,
  };
}

/** @throws {FormatError} a tensor is missing, or there is one that nobody asked for */
export function expectTensors(
  file: TensorFile,
  what: string,
  required: readonly string[],
  optional: readonly string[] = [],
): void {
  const missing = required.filter((name) => !file.tensors.has(name));
  const extra = [...file.tensors.keys()].filter(
    (name) => !required.includes(name) && !optional.includes(name),
  );
  if (missing.length === 0 && extra.length === 0) return;
  const said = [
    ...(missing.length > 0 ? [`tensors missing for ${what}: ${missing.join(", ")}`] : []),
    ...(extra.length > 0
      ? [`tensors that do not belong to ${what}: ${extra.slice(0, 8).join(", ").slice(0, 200)}`]
      : []),
  ];
  throw new FormatError(file.path, said.join("; "), { hint: `it needs exactly ${required.join(", ")}` });
}

/** @throws {UnsupportedError} a torch checkpoint holds something beside tensors that is not `known` */
export function expectNoOthers({ path, others }: TensorFile, known: readonly string[] = []): void {
  const odd = [...others.keys()].find((key) => !known.includes(key));
  if (odd === undefined) return;
  throw new UnsupportedError(
    `${path}: holds "${odd.slice(0, 80)}", which is no tensor`,
    "it is not known whether it changes what the weights mean",
  );
}

/**
 * The parameters as rows. An SAE gives as many values as it takes.
 * @throws {FormatError} shapes that do not fit each other, or tensors of no floating-point numbers
 */
export async function laidOutRows(
  file: TensorFile,
  layout: Layout,
  what: "SAE" | "transcoder",
): Promise<LaidOutRows> {
  const [dSae, dIn] = latentsFirst(file, layout.encoder);
  const [nDecoded, dOut] = latentsFirst(file, layout.decoder);
  if (nDecoded !== dSae)
    throw new FormatError(
      file.path,
      `"${layout.decoder.name}" has shape ${shown(file, layout.decoder.name)}: ${nDecoded} latents, "${layout.encoder.name}" has ${dSae}`,
    );
  if (what === "SAE" && dOut !== dIn)
    throw new FormatError(
      file.path,
      `the decoder "${layout.decoder.name}" gives ${dOut} values, the encoder "${layout.encoder.name}" takes ${dIn}: no SAE`,
    );
  const bEnc = await vectorOrZeros(file, layout.encoderBias, dSae);
  const bDec = await vectorOrZeros(file, layout.decoderBias, dOut);
  return {
    dIn,
    dSae,
    dOut,
    async read(tensor, from, to) {
      if (tensor === "bEnc") return bEnc.slice(from, to);
      if (tensor === "bDec") return bDec.slice(from, to);
      const { name, latents } = tensor === "wEnc" ? layout.encoder : layout.decoder;
      const values =
        latents === "rows" ? await file.rows(name, from, to) : await file.columns(name, from, to);
      return finite(file, name, values);
    },
    close: () => file.close(),
  };
}

/** [n] of a tensor, f32. @throws {FormatError} another shape, or values that are no finite numbers */
export async function vector(file: TensorFile, name: string, n: number): Promise<Float32Array> {
  const { shape } = info(file, name);
  if (shape.length !== 1 || shape[0] !== n)
    throw new FormatError(file.path, `"${name}" has shape ${shown(file, name)}, expected [${n}]`);
  return finite(file, name, await file.whole(name));
}

/** A whole matrix [n, m], f32. @throws as `vector` */
export async function matrix(file: TensorFile, name: string, n: number, m: number): Promise<Float32Array> {
  const { shape } = info(file, name);
  if (shape.length !== 2 || shape[0] !== n || shape[1] !== m)
    throw new FormatError(file.path, `"${name}" has shape ${shown(file, name)}, expected [${n}, ${m}]`);
  return finite(file, name, await file.whole(name));
}

/** The value of a tensor of one element. @throws {FormatError} more or fewer, or it is not finite */
export async function scalar(file: TensorFile, name: string): Promise<number> {
  const { shape } = info(file, name);
  if (shape.reduce((a, b) => a * b, 1) !== 1)
    throw new FormatError(file.path, `"${name}" has shape ${shown(file, name)}, expected one value`);
  const isShort = ["F32", "BF16", "F16"].includes(info(file, name).dtype);
  const [value] = isShort ? await file.whole(name) : await file.numbers(name);
  if (!Number.isFinite(value))
    throw new FormatError(file.path, `"${name}" is ${value}, expected a finite number`);
  return value;
}

/** How the matrices are stored, for people; what is computed with is always f32. */
export function storedDtype(file: TensorFile, name: string): SaeConfig["dtype"] {
  switch (info(file, name).dtype) {
    case "BF16":
      return "bfloat16";
    case "F16":
      return "float16";
    case "F64":
      return "float64";
    default:
      return "float32";
  }
}

const FLOATING = ["F32", "BF16", "F16", "F64"];

function latentsFirst(file: TensorFile, { name, latents }: StoredMatrix): readonly [number, number] {
  const { shape, dtype } = info(file, name);
  if (shape.length !== 2 || shape.some((size) => size < 1))
    throw new FormatError(file.path, `"${name}" has shape ${shown(file, name)}, expected a matrix`);
  if (!FLOATING.includes(dtype))
    throw new FormatError(file.path, `"${name}" is ${dtype}, expected ${FLOATING.join(", ")}`);
  return latents === "rows" ? [shape[0], shape[1]] : [shape[1], shape[0]];
}

async function vectorOrZeros(file: TensorFile, name: string | null, n: number): Promise<Float32Array> {
  return name === null ? new Float32Array(n) : vector(file, name, n);
}

function info(file: TensorFile, name: string) {
  const found = file.tensors.get(name);
  if (found === undefined) throw new FormatError(file.path, `no tensor "${name}"`);
  return found;
}

function shown(file: TensorFile, name: string): string {
  return `[${info(file, name).shape.join(", ")}]`;
}

function finite(file: TensorFile, name: string, values: Float32Array): Float32Array {
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0)
    throw new FormatError(file.path, `"${name}" holds ${values[odd]}`, {
      hint: "the weights are damaged, or too large for float32",
    });
  return values;
}

/** A matrix [n, m] as [m, n]. */
export function transposed(values: Float32Array, n: number, m: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < n; r++) for (let c = 0; c < m; c++) out[c * n + r] = values[r * m + c];
  return out;
}
