/** The SAE that an index of a run is of, loaded again: to encode with, to compare, to steer. */
import { StateError } from "../../errors.ts";
import { saeIdentity } from "../../evals/result.ts";
import { loadSae } from "../../sae/load.ts";
import type { Sae } from "../../sae/sae.ts";
import type { RunContext } from "../context.ts";
import { finalExport } from "../stages/polish-choice.ts";

/** before: the one that the layer was trained from. after: the one that the run made. */
export type IndexPhase = "before" | "after";

/** `hash`: as the index records it. @throws {StateError} the SAE there now is another */
export async function loadIndexedSae(
  run: RunContext,
  layer: number,
  phase: IndexPhase,
  hash: string,
): Promise<Sae> {
  const sae =
    phase === "before" ? await run.sourceSae(layer) : await loadSae(run.dir.sae(finalExport(run, layer).id));
  if (saeIdentity(sae).hash !== hash)
    throw new StateError(
      `the ${phase === "before" ? "source" : "final"} SAE of layer ${layer} is not the one that was indexed`,
      "index it again: lapidary index RUN --overwrite",
    );
  return sae;
}
