/** Seeded standard, gated and jumprelu SAEs, with batches and options: `cases.ts` for the dense architectures. */
import type {
  DenseArchitecture,
  EngineConfig,
  TrainStepOptions,
  Weights,
} from "../../src/kernels/kernels.ts";
import { batchFor, deadMask, normals, stepOptions, weightsFor } from "./cases.ts";

export interface DenseCase {
  readonly name: string;
  readonly config: EngineConfig & { readonly architecture: DenseArchitecture };
  readonly nTokens: number;
  /** added to every bias: below 0, few latents fire */
  readonly shift: number;
}

const step = (bandwidth: number): DenseArchitecture => ({
  kind: "jumprelu",
  bandwidth,
  sparsity: { loss: "step" },
});
const tanh = (scale: number): DenseArchitecture => ({
  kind: "jumprelu",
  bandwidth: 0.4,
  sparsity: { loss: "tanh", scale },
});

/** Dimensions below, at and above a block of 128, batches and latents that fill no tile; half of them fire, or few. */
export const denseCases: readonly DenseCase[] = [
  oneCase("standard", { kind: "standard", lpNorm: 1 }, 24, 100, 53),
  oneCase("standard, few fire", { kind: "standard", lpNorm: 1 }, 150, 199, 141, { shift: -2 }),
  oneCase("standard, p = 2, no centring", { kind: "standard", lpNorm: 2 }, 130, 97, 64, { centred: false }),
  oneCase("standard, p = 1.5, few fire", { kind: "standard", lpNorm: 1.5 }, 16, 49, 40, { shift: -1.8 }),
  oneCase("gated", { kind: "gated" }, 128, 150, 61),
  oneCase("gated, few fire, no centring", { kind: "gated" }, 150, 199, 140, { shift: -2, centred: false }),
  oneCase("jumprelu, step", step(0.5), 64, 257, 96),
  oneCase("jumprelu, step, few fire", step(0.2), 150, 199, 97, { shift: -1.8 }),
  oneCase("jumprelu, tanh", tanh(2), 136, 120, 70),
  oneCase("jumprelu, tanh, few fire, no centring", tanh(4), 40, 201, 260, { shift: -1.8, centred: false }),
  oneCase("jumprelu of five tokens", step(0.5), 7, 10, 5),
  oneCase("gated of one token", { kind: "gated" }, 3, 5, 1),
];

function oneCase(
  name: string,
  architecture: DenseArchitecture,
  dIn: number,
  dSae: number,
  nTokens: number,
  { shift = 0, centred = true } = {},
): DenseCase {
  const config = {
    dIn,
    dSae,
    widths: [dSae],
    applyBDecToInput: centred,
    rescaleActsByDecoderNorm: false,
    architecture,
    training: true,
  };
  return { name: `${name} (d ${dIn}, F ${dSae}, B ${nTokens})`, config, nTokens, shift };
}

export function denseWeightsFor({ config, shift }: DenseCase): Weights {
  const weights = weightsFor(config);
  const { dSae, architecture } = config;
  const biases = (purpose: string) => normals(dSae, purpose, 0.2).map((b) => b + shift);
  const plain = { ...weights, bEnc: biases("bEnc") };
  switch (architecture.kind) {
    case "standard":
      return plain;
    case "gated":
      // magnitudes of both signs behind open gates
      return {
        ...plain,
        bEnc: normals(dSae, "bMag", 0.5),
        extra: { bGate: biases("bGate"), rMag: normals(dSae, "rMag", 0.3) },
      };
    case "jumprelu": {
      const logThreshold = normals(dSae, "logThreshold", 0.3).map((z) => z + Math.log(0.3));
      return { ...plain, extra: { logThreshold } };
    }
  }
}

export function denseBatchFor({ config, nTokens }: DenseCase, at = 0): Float32Array {
  return batchFor({ name: "", config, nTokens, k: 1 }, at);
}

/** The coefficient rises from 0; one step is not clipped, one has no loss of dead latents. */
export function denseStepOptions({ config }: DenseCase, at: number): TrainStepOptions {
  const { kind } = config.architecture;
  const aux = kind === "jumprelu" && at !== 1 ? { coefficient: 0.1, dead: deadMask(config.dSae) } : null;
  return stepOptions(1, at, {
    selection: { kind: "own" },
    sparsity: 0.05 * at,
    clipNorm: at === 2 ? null : 0.5,
    aux,
    audit: { tokens: Uint32Array.of(0) },
  });
}
