/**
 * A SAELens directory: `cfg.json`, `sae_weights.safetensors`, and what may lie beside them. Bytes ⇄ a neutral record in
 * our names; what an SAE does with the numbers is `sae/`'s business. The file's W_enc [d_in, d_sae] is turned into
 * wEnc [dSae, dIn] here and nowhere else. Nothing is guessed: tensors missing, extra, misshapen or not finite are errors.
 */
import { join } from "node:path";
import { FormatError, ShapeError } from "../errors.ts";
import { writeJson } from "../storage/atomic.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { readJson } from "../storage/json.ts";
import { writeFolder } from "../storage/whole-folder.ts";
import { isObject } from "./json-fields.ts";
import {
  parseConfig,
  type SaelensArchitecture,
  type SaelensConfig,
  serializeConfig,
} from "./saelens-config.ts";
import { readEncoderRows, readRowsF32 } from "./saelens-encoder.ts";
import {
  openSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "./safetensors.ts";
import { plain, type StoredDtype, turned } from "./stored-tensor.ts";

const CONFIG = "cfg.json";
const WEIGHTS = "sae_weights.safetensors";
const SPARSITY = "sparsity.safetensors";
const RUNNER_CONFIG = "runner_cfg.json";
const ACTIVATION_SCALER = "activation_scaler.json";
/** Files that may lie in a directory which a new save replaces. */
const OURS = [CONFIG, WEIGHTS, SPARSITY, RUNNER_CONFIG, "README.md", "contract.json", "contract.safetensors"];
const MAX_JSON_BYTES = 16 * 1024 * 1024;
/** Values of a matrix read at a time: 32 MB of f32. */
const PIECE_VALUES = 1 << 23;

/** What a SAELens directory holds. All arrays f32, row-major. dOut: of a transcoder, else dIn. */
export interface SaelensDirectory {
  readonly config: SaelensConfig;
  /** [dSae, dIn]: the file's W_enc transposed */
  readonly wEnc: Float32Array;
  /** [dSae, dOut] */
  readonly wDec: Float32Array;
  /** [dSae]; of a gated SAE b_mag */
  readonly bEnc: Float32Array;
  /** [dOut] */
  readonly bDec: Float32Array;
  /** [dSae], jumprelu only */
  readonly threshold: Float32Array | null;
  /** gated only */
  readonly gate: SaelensGate | null;
  /** W_skip [dOut, dIn], skip transcoders only */
  readonly skip: Float32Array | null;
  /** f64, batchtopk and matryoshka_batchtopk checkpoints only */
  readonly topkThreshold: number | null;
  readonly runnerConfig: Readonly<Record<string, unknown>> | null;
}

/** What opens the latents of a gated SAE, [dSae] each. */
export interface SaelensGate {
  readonly bGate: Float32Array;
  readonly rMag: Float32Array;
}

/** Tensors of each architecture; strict, as SAELens loads them. */
const ALL = ["W_enc", "W_dec", "b_enc", "b_dec"];
const TENSORS: Readonly<Record<SaelensArchitecture, readonly string[]>> = {
  standard: ALL,
  topk: ALL,
  jumprelu: [...ALL, "threshold"],
  gated: ["W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"],
  transcoder: ALL,
  skip_transcoder: [...ALL, "W_skip"],
  jumprelu_transcoder: [...ALL, "threshold"],
  jumprelu_skip_transcoder: [...ALL, "threshold", "W_skip"],
  batchtopk: [...ALL, "topk_threshold"],
  matryoshka_batchtopk: [...ALL, "topk_threshold"],
};

/** Reads only cfg.json. @throws {FormatError} @throws {UnsupportedError} */
export async function readSaelensConfig(dir: string): Promise<SaelensConfig> {
  const file = join(dir, CONFIG);
  const absent = "name the folder of one SAE: it holds cfg.json and sae_weights.safetensors";
  return parseConfig(file, await readJson(file, { maxBytes: MAX_JSON_BYTES, absent }));
}

/** A directory whose two matrices stay in their file until they are wanted. */
export interface OpenSaelens extends Omit<SaelensDirectory, "wEnc" | "wDec"> {
  /** Rows [from, to) of wEnc or wDec [dSae, dIn], a fresh array. @throws {FormatError} they hold what is no finite number */
  rows(matrix: "wEnc" | "wDec", from: number, to: number): Promise<Float32Array>;
  /** Rows [from, to) of W_enc [dIn, dSae] as the file has them, so as fast as it can be read. Not looked at. */
  encoderInputs(from: number, to: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens a directory: everything but the matrices is read, and their names and shapes checked. Tensors stored as bf16, f16
 * or f64 become f32.
 * @throws {FormatError} files or tensors that are not as the architecture requires
 * @throws {UnsupportedError} an architecture that is not run
 */
export async function openSaelens(dir: string): Promise<OpenSaelens> {
  const config = await readSaelensConfig(dir);
  const { dIn, dSae } = config;
  const dOut = config.dOut ?? dIn;
  const file = await openSafetensors(join(dir, WEIGHTS));
  try {
    await checkTensorNames(file, config);
    const has = (name: string) => TENSORS[config.architecture].includes(name);
    expectShape(file, "W_enc", [dIn, dSae]);
    expectShape(file, "W_dec", [dSae, dOut]);
    return {
      config,
      bEnc: await readTensor(file, has("b_mag") ? "b_mag" : "b_enc", [dSae]),
      bDec: await readTensor(file, "b_dec", [dOut]),
      threshold: has("threshold") ? await readTensor(file, "threshold", [dSae]) : null,
      gate: has("b_gate")
        ? {
            bGate: await readTensor(file, "b_gate", [dSae]),
            rMag: await readTensor(file, "r_mag", [dSae]),
          }
        : null,
      skip: has("W_skip") ? await readTensor(file, "W_skip", [dOut, dIn]) : null,
      topkThreshold: has("topk_threshold") ? await readScalar(file, "topk_threshold") : null,
      runnerConfig: await readRunnerConfig(dir),
      async rows(matrix, from, to) {
        const name = matrix === "wEnc" ? "W_enc" : "W_dec";
        const values =
          matrix === "wEnc"
            ? await readEncoderRows(file, name, from, to)
            : await readRowsF32(file, name, from, to);
        return finite(file, name, values, from * (matrix === "wEnc" ? dIn : dOut));
      },
      encoderInputs: (from, to) => readRowsF32(file, "W_enc", from, to),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Reads a whole directory. @throws as `openSaelens` */
export async function readSaelens(dir: string): Promise<SaelensDirectory> {
  const { rows, encoderInputs: _, close, ...rest } = await openSaelens(dir);
  try {
    const whole = async (matrix: "wEnc" | "wDec") => {
      const { dIn, dSae, dOut } = rest.config;
      const width = matrix === "wEnc" ? dIn : (dOut ?? dIn);
      const out = new Float32Array(dSae * width);
      const step = Math.max(64, Math.floor(PIECE_VALUES / width));
      for (let from = 0; from < dSae; from += step)
        out.set(await rows(matrix, from, Math.min(dSae, from + step)), from * width);
      return out;
    };
    return { ...rest, wEnc: await whole("wEnc"), wDec: await whole("wDec") };
  } finally {
    await close();
  }
}

/** log10 of each latent's firing frequency, [dSae], or null if the directory has none. */
export async function readSparsity(dir: string, dSae: number): Promise<Float32Array | null> {
  const path = join(dir, SPARSITY);
  if (!(await exists(path))) return null;
  const file = await openSafetensors(path);
  try {
    return await readTensor(file, "sparsity", [dSae]);
  } finally {
    await file.close();
  }
}

/** The factor that a training checkpoint's inputs were multiplied by; null if they were not. */
export async function readActivationScale(dir: string): Promise<number | null> {
  const path = join(dir, ACTIVATION_SCALER);
  if (!(await exists(path))) return null;
  const { scaling_factor: scale } = await readJson<{ scaling_factor?: unknown }>(path, {
    maxBytes: MAX_JSON_BYTES,
  });
  if (scale === null || scale === undefined) return null;
  if (typeof scale !== "number" || !(Number.isFinite(scale) && scale > 0))
    throw new FormatError(path, `scaling_factor is ${JSON.stringify(scale)}, expected a positive number`);
  return scale;
}

/** What is saved beside an SAE, and how exactly. */
export interface WriteOptions {
  /** element type on disk; default float32, which loses nothing */
  readonly dtype?: StoredDtype;
  /** log10 firing frequency of each latent [dSae], written as sparsity.safetensors */
  readonly sparsity?: Float32Array;
  /** adds files that are to appear with the SAE, to the folder in which it is made, once its own are there */
  readonly beside?: (folder: string) => Promise<void>;
}

/**
 * Writes an inference SAE: the directory appears whole, or not at all. An SAE directory already at `dir` is replaced.
 * Returns size and sha-256 of the weights file.
 * @throws {StateError} `dir` is something else than an SAE directory
 * @throws {UnsupportedError} a value that is finite, and in bfloat16 would not be
 */
export async function writeSaelens(
  dir: string,
  content: SaelensDirectory,
  options: WriteOptions = {},
): Promise<{ bytes: number; sha256: string }> {
  const { config, runnerConfig } = content;
  const dtype = options.dtype ?? "float32";
  return writeFolder(dir, { what: "an SAE directory", names: OURS }, async (folder) => {
    const written = await writeSafetensors(join(folder, WEIGHTS), tensorsOf(content, dtype));
    if (options.sparsity !== undefined) {
      if (options.sparsity.length !== config.dSae)
        throw new ShapeError("sparsity", options.sparsity.length, config.dSae);
      await writeSafetensors(join(folder, SPARSITY), [
        { name: "sparsity", dtype: "F32", shape: [config.dSae], data: options.sparsity },
      ]);
    }
    if (runnerConfig !== null) await writeJson(join(folder, RUNNER_CONFIG), runnerConfig);
    await writeJson(join(folder, CONFIG), serializeConfig({ ...config, dtype }));
    await options.beside?.(folder);
    return written;
  });
}

function tensorsOf(content: SaelensDirectory, dtype: StoredDtype): TensorToWrite[] {
  const { wEnc, wDec, bEnc, bDec, threshold, gate, skip, config } = content;
  const { dIn, dSae } = config;
  const dOut = config.dOut ?? dIn;
  return [
    turned("W_enc", [dSae, dIn], wEnc, dtype),
    plain("W_dec", [dSae, dOut], wDec, dtype),
    plain("b_dec", [dOut], bDec, dtype),
    plain(gate === null ? "b_enc" : "b_mag", [dSae], bEnc, dtype),
    ...(threshold === null ? [] : [plain("threshold", [dSae], threshold, dtype)]),
    ...(gate === null
      ? []
      : [plain("b_gate", [dSae], gate.bGate, dtype), plain("r_mag", [dSae], gate.rMag, dtype)]),
    ...(skip === null ? [] : [plain("W_skip", [dOut, dIn], skip, dtype)]),
  ];
}

async function checkTensorNames(file: SafetensorsFile, { architecture }: SaelensConfig): Promise<void> {
  const expected = TENSORS[architecture];
  const missing = expected.filter((name) => !file.tensors.has(name));
  if (missing.length > 0)
    throw new FormatError(
      file.path,
      `tensors missing for architecture "${architecture}": ${missing.join(", ")}`,
      {
        hint: `it needs exactly ${expected.join(", ")}`,
      },
    );
  const extra = [...file.tensors.keys()].filter((name) => !expected.includes(name));
  for (const name of extra) {
    if (name === "scaling_factor" && (await file.readF32(name)).every((s) => s === 1)) continue;
    throw new FormatError(
      file.path,
      `tensor "${name.slice(0, 80)}" does not belong to architecture "${architecture}"`,
      {
        hint: `it needs exactly ${expected.join(", ")}`,
      },
    );
  }
}

async function readTensor(
  file: SafetensorsFile,
  name: string,
  shape: readonly number[],
): Promise<Float32Array> {
  expectShape(file, name, shape);
  return finite(file, name, await file.readF32(name));
}

async function readScalar(file: SafetensorsFile, name: string): Promise<number> {
  const [value] = file.tensors.get(name)?.dtype === "F64" ? await file.read(name) : await file.readF32(name);
  const count = file.tensors.get(name)?.shape.reduce((a, b) => a * b, 1);
  if (count !== 1 || typeof value !== "number" || !Number.isFinite(value))
    throw new FormatError(
      file.path,
      `"${name}" holds ${count} values (first: ${value}), expected one finite number`,
    );
  return value;
}

function expectShape(file: SafetensorsFile, name: string, shape: readonly number[]): void {
  const got = file.tensors.get(name)?.shape ?? [];
  if (got.length !== shape.length || got.some((d, i) => d !== shape[i]))
    throw new FormatError(
      file.path,
      `tensor "${name}" has shape [${got.join(", ")}], cfg.json asks for [${shape.join(", ")}]`,
      { hint: "weights and cfg.json are not of one SAE; fetch or write both again" },
    );
}

/** `first`: place of the first value in the whole tensor, as it is in memory. */
function finite(file: SafetensorsFile, name: string, values: Float32Array, first = 0): Float32Array {
  for (let i = 0; i < values.length; i++)
    if (!Number.isFinite(values[i]))
      throw new FormatError(file.path, `tensor "${name}" holds ${values[i]} (value ${first + i} in memory)`, {
        hint: "the weights are damaged, or too large for float32",
      });
  return values;
}

/** Reads only runner_cfg.json; null if the directory has none. @throws {FormatError} */
export async function readRunnerConfig(dir: string): Promise<Readonly<Record<string, unknown>> | null> {
  const path = join(dir, RUNNER_CONFIG);
  if (!(await exists(path))) return null;
  const json = await readJson(path, { maxBytes: MAX_JSON_BYTES });
  if (!isObject(json)) throw new FormatError(path, "not a JSON object");
  return json;
}

async function exists(path: string): Promise<boolean> {
  return (await statIfPresent(path)) !== null;
}
