/** Makes the indexes that a run's finished layers lack, before they are shown. */
import { basename, dirname, join } from "node:path";
import { INDEX_MANIFEST } from "../../dashboard/index-manifest.ts";
import { LapidaryError } from "../../errors.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import type { RunContext } from "../context.ts";
import { indexRun } from "../indexing/index-run.ts";
import type { IndexPhase } from "../indexing/indexed-sae.ts";
import { loadRecipe } from "../recipe/file.ts";
import { finishedLayers } from "../stages/finished.ts";

/** An index that cannot be made is noted, and what else there is is shown. @throws the signal's reason when aborted */
export async function makeMissingIndexes(run: RunContext): Promise<void> {
  const { dir, options } = run;
  const root = dir.root;
  for (const layer of finishedLayers(run)) {
    const phases: IndexPhase[] = "from" in run.recipe.sae ? ["after", "before"] : ["after"];
    const manifests = phases.map((phase) => statIfPresent(join(dir.index(layer, phase), INDEX_MANIFEST)));
    if (!(await Promise.all(manifests)).includes(null)) continue;
    try {
      const loaded = await loadRecipe(dir.recipe, [`name=${JSON.stringify(basename(root))}`]);
      await indexRun(loaded, dirname(root), { ...options, layers: [layer] });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof LapidaryError)) throw error;
      const hint = error.hint === undefined ? "" : ` (${error.hint})`;
      run.emit({ kind: "note", message: `layer ${layer} is not indexed: ${error.message}${hint}` });
    }
  }
}
