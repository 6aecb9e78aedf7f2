/** Which parameters an architecture has, in the order in which they are stored. */
import type { DenseArchitecture, ExtraParameter, Parameter, PlainParameter, Weights } from "./kernels.ts";

export const PLAIN_PARAMETERS: readonly PlainParameter[] = ["wEnc", "wDec", "bEnc", "bDec"];

const EXTRA_OF: Readonly<Record<DenseArchitecture["kind"], readonly ExtraParameter[]>> = {
  standard: [],
  gated: ["bGate", "rMag"],
  jumprelu: ["logThreshold"],
};

/** All that any architecture has. */
export const EXTRA_PARAMETERS: readonly ExtraParameter[] = Object.values(EXTRA_OF).flat();

/** Undefined: an SAE of a top-k kind, which has none. */
export function extraParametersOf(architecture: DenseArchitecture | undefined): readonly ExtraParameter[] {
  return architecture === undefined ? [] : EXTRA_OF[architecture.kind];
}

export function parametersOf(architecture: DenseArchitecture | undefined): readonly Parameter[] {
  return [...PLAIN_PARAMETERS, ...extraParametersOf(architecture)];
}

/** All that weights hold, by name. */
export function tensorsOf(weights: Weights): (readonly [Parameter, Float32Array])[] {
  const plain = PLAIN_PARAMETERS.map((name) => [name, weights[name]] as const);
  const extra = EXTRA_PARAMETERS.flatMap((name) => {
    const values = weights.extra?.[name];
    return values === undefined ? [] : [[name, values] as const];
  });
  return [...plain, ...extra];
}
