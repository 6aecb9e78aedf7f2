/**
 * `trainer_state.pt` of a SAELens training checkpoint: what Adam has learnt of the gradients. Read as any torch checkpoint,
 * without running anything; the rest of the file (schedules, counters) is not used. The file's order is SAELens': b_dec,
 * W_dec, W_enc, b_enc.
 */
import { join } from "node:path";
import { FormatError } from "../errors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import type { PickleValue } from "./pickle.ts";
import { TorchFile, TorchTensor } from "./torch.ts";

const TRAINER_STATE = "trainer_state.pt";
const PARAMETERS = ["bDec", "wDec", "wEnc", "bEnc"] as const;

/** A parameter that Adam keeps moments of. */
export type AdamParameter = (typeof PARAMETERS)[number];

/** Adam's state, the moments left in their file. */
export interface SaelensAdam {
  /** steps taken */
  readonly step: number;
  /** f32, latent-major: wEnc and wDec [dSae, dIn]. @throws {FormatError} a value is not finite, or a second moment negative */
  read(moment: "m" | "v", parameter: AdamParameter): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens the optimizer's state beside a checkpoint's weights; null if the checkpoint has none.
 * @throws {FormatError} it is no Adam state, or not of tensors of these sizes
 */
export async function openSaelensAdam(
  dir: string,
  { dIn, dSae }: { readonly dIn: number; readonly dSae: number },
): Promise<SaelensAdam | null> {
  const path = join(dir, TRAINER_STATE);
  if ((await statIfPresent(path)) === null) return null;
  const file = await TorchFile.open(path);
  try {
    const shapes = { bDec: [dIn], wDec: [dSae, dIn], wEnc: [dIn, dSae], bEnc: [dSae] };
    const state = dictIn(path, dictIn(path, file.value, "optimizer"), "state");
    if (state.size !== PARAMETERS.length)
      throw new FormatError(
        path,
        `its optimizer has ${state.size} parameters, expected ${PARAMETERS.length}`,
      );
    const tensors = new Map<string, TorchTensor>();
    const steps = new Set<number>();
    for (const [i, parameter] of PARAMETERS.entries()) {
      const entry = dictIn(path, state, i);
      for (const [name, moment] of [
        ["exp_avg", "m"],
        ["exp_avg_sq", "v"],
      ])
        tensors.set(`${moment}.${parameter}`, tensorIn(path, entry, name, shapes[parameter]));
      const [step] = await file.readF32(tensorIn(path, entry, "step", []));
      steps.add(step);
    }
    const [step] = steps;
    if (steps.size !== 1 || !Number.isSafeInteger(step) || step < 0)
      throw new FormatError(path, `Adam's steps are ${[...steps].join(", ")}, expected one whole number`);
    return {
      step,
      async read(moment, parameter) {
        const name = `${moment}.${parameter}`;
        const values = await file.readF32(tensors.get(name)!);
        const wrong = values.findIndex((value) => !Number.isFinite(value) || (moment === "v" && value < 0));
        if (wrong >= 0)
          throw new FormatError(path, `${name} holds ${values[wrong]} (value ${wrong}), expected a moment`);
        return parameter === "wEnc" ? transposed(values, dIn, dSae) : values;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function dictIn(path: string, value: PickleValue, key: string | number): Map<string | number, PickleValue> {
  const inner = value instanceof Map ? value.get(key) : undefined;
  if (inner instanceof Map) return inner as Map<string | number, PickleValue>;
  throw new FormatError(path, `no dict "${key}" where Adam's state has one`);
}

function tensorIn(
  path: string,
  entry: Map<string | number, PickleValue>,
  name: string,
  shape: readonly number[],
): TorchTensor {
  const tensor = entry.get(name);
  if (!(tensor instanceof TorchTensor)) throw new FormatError(path, `no tensor "${name}" of Adam's state`);
  const fits = tensor.shape.length === shape.length && tensor.shape.every((d, i) => d === shape[i]);
  if (!fits)
    throw new FormatError(
      path,
      `"${name}" has shape [${tensor.shape.join(", ")}], its parameter has [${shape.join(", ")}]`,
    );
  return tensor;
}

/** [nRows, nColumns] → [nColumns, nRows] */
function transposed(values: Float32Array, nRows: number, nColumns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let row = 0; row < nRows; row++)
    for (let column = 0; column < nColumns; column++)
      out[column * nRows + row] = values[row * nColumns + column];
  return out;
}
