/** What publishing a run would send, and everything that can be refused before anything is sent. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GateError, RecipeError, StateError } from "../../errors.ts";
import { NetworkError } from "../../hub/hub-fetch.ts";
import { isLargeFile, missingFiles } from "../../hub/push.ts";
import { type HubSettings, hubSettings } from "../../hub/settings.ts";
import { findTarget, type Target } from "../../hub/target.ts";
import type { RunContext } from "../context.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { openRun, type PipelineOptions } from "../run.ts";
import { cardText, finishedLayers, layersBelowGate } from "../stages/card.ts";
import { heldOutPairs } from "../stages/harvest.ts";
import { openSetStore } from "../stages/recorded.ts";
import { bytesOf, isOutdated, outgoingFiles } from "./files.ts";
import { type Publication, readPublication } from "./publication.ts";
import { declaredLicense } from "./source-license.ts";

/** Where a run is published, and what is allowed to be. */
export interface PublishOptions extends Pick<PipelineOptions, "threads" | "signal" | "onEvent"> {
  /** owner/name */
  readonly repository: string;
  /** default main; made where it is absent */
  readonly branch?: string;
  /** make the repository private; one that is public is refused */
  readonly isPrivate?: boolean;
  /** publish layers below the recipe's gate too */
  readonly belowGate?: boolean;
  /** of the SAEs; default what the recipe says, else what the source declares */
  readonly license?: string;
  /** large files through the Xet storage; default false */
  readonly xet?: boolean;
  readonly settings?: HubSettings;
}

/** What would be sent. */
export interface PublishPlan {
  readonly repository: string;
  readonly branch: string;
  /** null: the hub could not be asked, so nothing is taken to be there */
  readonly exists: boolean | null;
  readonly license: string;
  /** everything that is published; `isThere`: with the same bytes already */
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly isLfs: boolean;
    readonly isThere: boolean;
  }[];
  readonly sentBytes: number;
}

/**
 * What `publishRun` would send. Asks the hub what is there; writes and sends nothing.
 * @throws as `publishRun` does before it sends anything, but for a missing token
 */
export async function planPublication(
  loaded: LoadedRecipe,
  options: PublishOptions,
  runsFolder: string,
): Promise<PublishPlan> {
  const { context, target, license } = await prepared(loaded, options, runsFolder);
  const layers = finishedLayers(context);
  let publication = await readPublication(context, layers);
  if (publication?.repository !== options.repository) publication = null;
  const scratch = await mkdtemp(join(tmpdir(), "lapidary-card-"));
  try {
    const card = join(scratch, "README.md");
    const filesWith = async (stands: Publication | null) => {
      await writeFile(card, await cardText(context, stands));
      return outgoingFiles(context, card, stands !== null);
    };
    const there = target?.hasBranch ? target.repository : null;
    let files = await filesWith(publication);
    if (publication !== null && isOutdated(there, files)) files = await filesWith(null);
    const missing = new Set(missingFiles(there, files));
    return {
      repository: options.repository,
      branch: options.branch ?? "main",
      exists: target === null ? null : target.repository !== null,
      license,
      files: files.map((file) => ({
        path: file.path,
        bytes: file.size,
        sha256: file.sha256,
        isLfs: isLargeFile(file),
        isThere: !missing.has(file),
      })),
      sentBytes: bytesOf([...missing]),
    };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Everything that can be refused without sending anything. `target` null: the hub could not be asked. */
export async function prepared(
  loaded: LoadedRecipe,
  options: PublishOptions,
  runsFolder: string,
): Promise<{ context: RunContext; target: Target | null; license: string }> {
  const settings = options.settings ?? hubSettings();
  const { recipe } = loaded;
  const license = options.license ?? recipe.output.license ?? (await declaredLicense(loaded, settings));
  if (license === null)
    throw new RecipeError(
      "the recipe names no licence, and the source SAE declares none",
      "say under which licence you publish: --license apache-2.0, for instance, or output.license in the recipe",
    );
  const licensed = { ...loaded, recipe: { ...recipe, output: { ...recipe.output, license } } };
  const { threads, signal, onEvent } = options;
  const context = await openRun(licensed, { runsFolder, threads, signal, onEvent });
  const unfinished = recipe.layers.filter((layer) => !finishedLayers(context).includes(layer));
  if (unfinished.length > 0)
    throw new StateError(
      `layers ${unfinished.join(", ")} of this run are not finished`,
      `lapidary run ${join(context.dir.root, "recipe.yaml")} goes on with them`,
    );
  const below = await layersBelowGate(context);
  if (below.length > 0 && !options.belowGate)
    throw new GateError(
      `layer${below.length > 1 ? "s" : ""} ${below.join(", ")} ${below.length > 1 ? "are" : "is"} below the recipe's gate of VE ${recipe.eval.gate}; nothing was published`,
      "--below-gate publishes it anyway, marked as unfinished on the card",
    );
  for (const layer of recipe.layers)
    for (const { set } of heldOutPairs(context, ["model"])) // without them the revision could not be verified
      await (await openSetStore(context, "model", set, layer)).close();
  const target = await findTarget(options.repository, options.branch ?? "main", settings, signal).catch(
    (error: unknown) => {
      if (error instanceof NetworkError) return null;
      throw error;
    },
  );
  return { context, target, license };
}
