/**
 * The golden vector of a contract: a few real inputs, and what the SAE must make of them. Computed from the stored
 * weights by the plain equations in double precision, latent by latent (`check.ts` computes the same input by input, as
 * the file lies). The file `contract.safetensors`:
 *   inputs f32 [n, dIn] · offsets i32 [n + 1], latents i32 [m], values f64 [m] (compressed rows) · reconstruction f64 [n, dIn]
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { visitRows } from "../kernels/weight-rows.ts";
import type { OpenSae } from "../sae/load.ts";
import { type PlainLatents, plainInputs, plainLatents, plainReconstruction, squares } from "./plain-sae.ts";

/** Share of a row's largest expected value that another program's numbers may be off by; single precision stays below it. */
export const TOLERANCE = 1e-4;

/** In words, for contract.json. */
export const GOLDEN_MEANING =
  "For each row of inputs: the active latents (offsets, latents, values: compressed rows) and the reconstruction of these latents, in double precision. " +
  "Every value must be met within tolerance × the largest expected latent of its row; a latent whose pre-activation is that near its threshold may be active or not. " +
  "The reconstruction is decoded from the expected latents, and must be met within tolerance × its row's largest absolute value.";

/** Inputs with their expected latents and reconstruction. */
export interface Golden extends PlainLatents {
  readonly n: number;
  /** [n, dIn] */
  readonly inputs: Float32Array;
  /** [n, dIn] */
  readonly reconstruction: Float64Array;
}

/** What `sae` makes of `inputs` [n, dIn]. @throws {UnsupportedError} a transcoder: its output is no reconstruction */
export async function computeGolden(sae: OpenSae, inputs: Float32Array): Promise<Golden> {
  const { config, rows } = sae;
  const { dIn, dSae } = config;
  if (config.output !== undefined)
    throw new UnsupportedError("a transcoder has no golden vector", "contracts are made of SAEs");
  const bDec = await rows.read("bDec", 0, dIn);
  const given = plainInputs(inputs, config, bDec);
  const { n, centred } = given;
  const p = new Float64Array(dSae * n);
  await visitRows(rows, "bEnc", (piece, from) => {
    for (let j = 0; j < piece.length; j++) p.fill(piece[j], (from + j) * n, (from + j + 1) * n);
  });
  await visitRows(rows, "wEnc", (piece, from) => {
    for (let j = 0; j * dIn < piece.length; j++)
      for (let t = 0; t < n; t++) {
        let sum = 0;
        for (let i = 0; i < dIn; i++) sum += centred[t * dIn + i] * piece[j * dIn + i];
        p[(from + j) * n + t] += sum;
      }
  });
  if (config.rescaleActsByDecoderNorm)
    await visitRows(rows, "wDec", (piece, from) => {
      for (let j = 0; j * dIn < piece.length; j++) {
        const norm = Math.sqrt(squares(piece.subarray(j * dIn, (j + 1) * dIn)));
        for (let t = 0; t < n; t++) p[(from + j) * n + t] *= norm;
      }
    });
  const found = plainLatents(p, n, sae);
  const reconstruction = await plainReconstruction(found, given, config, bDec, (j) =>
    rows.read("wDec", j, j + 1),
  );
  return { n, inputs, reconstruction, ...found };
}

/** Writes a golden vector as a safetensors file. */
export async function writeGolden(path: string, golden: Golden): Promise<void> {
  const { n, inputs, offsets, latents, values, reconstruction } = golden;
  const dIn = inputs.length / n;
  await writeSafetensors(path, [
    { name: "inputs", dtype: "F32", shape: [n, dIn], data: inputs },
    { name: "offsets", dtype: "I32", shape: [n + 1], data: offsets },
    { name: "latents", dtype: "I32", shape: [latents.length], data: latents },
    { name: "values", dtype: "F64", shape: [values.length], data: values },
    { name: "reconstruction", dtype: "F64", shape: [n, dIn], data: reconstruction },
  ]);
}

/** Reads a golden vector for `n` inputs. @throws {FormatError} it is not one for an SAE of this size */
export async function readGolden(
  path: string,
  { n, dIn, dSae }: { n: number; dIn: number; dSae: number },
): Promise<Golden> {
  const file = await openSafetensors(path);
  try {
    const m = file.tensors.get("latents")?.shape[0] ?? 0;
    const expected: Readonly<Record<string, readonly [string, readonly number[]]>> = {
      inputs: ["F32", [n, dIn]],
      offsets: ["I32", [n + 1]],
      latents: ["I32", [m]],
      values: ["F64", [m]],
      reconstruction: ["F64", [n, dIn]],
    };
    for (const [name, [dtype, shape]] of Object.entries(expected)) {
      const info = file.tensors.get(name);
      if (info?.dtype === dtype && info.shape.join() === shape.join()) continue;
      const got = info === undefined ? "absent" : `${info.dtype} [${info.shape.join(", ")}]`;
      throw new FormatError(path, `tensor "${name}" is ${got}, expected ${dtype} [${shape.join(", ")}]`);
    }
    const golden = {
      n,
      inputs: (await file.read("inputs")) as Float32Array,
      offsets: (await file.read("offsets")) as Int32Array,
      latents: (await file.read("latents")) as Int32Array,
      values: (await file.read("values")) as Float64Array,
      reconstruction: (await file.read("reconstruction")) as Float64Array,
    };
    checkRows(path, golden, dSae);
    return golden;
  } finally {
    await file.close();
  }
}

/** Offsets ascend from 0 to m, latents ascend within their row, and all numbers are finite. */
function checkRows(path: string, golden: Golden, dSae: number): void {
  const { n, offsets, latents, inputs, values, reconstruction } = golden;
  const ascends = offsets.every((offset, t) => t === 0 || offset >= offsets[t - 1]);
  if (offsets[0] !== 0 || offsets[n] !== latents.length || !ascends)
    throw new FormatError(path, `offsets do not ascend from 0 to the ${latents.length} latents there are`);
  for (let t = 0; t < n; t++)
    for (let e = offsets[t], before = -1; e < offsets[t + 1]; e++) {
      if (!(latents[e] > before && latents[e] < dSae))
        throw new FormatError(path, `latents of row ${t} do not ascend below ${dSae}: ${latents[e]}`);
      before = latents[e];
    }
  for (const [name, numbers] of Object.entries({ inputs, values, reconstruction }))
    if (!(numbers as Float64Array).every(Number.isFinite))
      throw new FormatError(path, `tensor "${name}" holds what is no finite number`);
}
