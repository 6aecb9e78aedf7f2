/**
 * A dialect: one publisher's way of laying an SAE down in files. Each file of this room knows one: by what it is
 * recognised, what its tensors are called and which way round they lie, and what its numbers mean in our terms. What it
 * does not know to be safe it refuses. The room lies in `sae/` and not in `formats/`, because a dialect says how an SAE
 * behaves; `formats/` only knows what bytes a tensor is.
 */
import type { WeightRows } from "../../kernels/weight-rows.ts";
import type { GatedAsJumprelu } from "../gated.ts";
import type { Sae } from "../sae.ts";
import type { Place } from "./place.ts";

/** An SAE whose weights stay in its file until they are wanted; whoever opened it closes its rows. */
export interface OpenSae extends Omit<Sae, "weights"> {
  readonly rows: WeightRows;
  /** A gated SAE's, as it lies in its file, where it can be told from the jumprelu SAE that it is run as. */
  readonly gated?: GatedAsJumprelu["gated"];
}

/** An SAE without its tensors. */
export type SaeFacts = Pick<Sae, "config" | "runnerConfig">;

export interface Dialect {
  /** for people */
  readonly name: string;
  /** what lies on disk, for people */
  readonly files: string;
  /** Whether an SAE in this dialect lies here. Looks at names, and at no more of a file than says what it is. */
  recognises(place: Place): boolean | Promise<boolean>;
  /** @throws {FormatError} what lies here is damaged or contradicts itself @throws {UnsupportedError} valid, and not run */
  open(place: Place): Promise<OpenSae>;
  /** What opening would say beside weights, from small files alone; null, or absent: it has to be opened. */
  describe?(place: Place): Promise<SaeFacts | null>;
}
