/** What publishing a run would send, and everything that can be refused before anything is sent. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GateError, RecipeError, StateError } from "../../errors.ts";
import { NetworkError } from "../../hub/hub-fetch.ts";
import { isLargeFile, missingFiles, type OutgoingFile } from "../../hub/push.ts";
import type { Repository } from "../../hub/repository.ts";
import { type HubSettings, hubSettings } from "../../hub/settings.ts";
import { findTarget, type Target } from "../../hub/target.ts";
import { type CardNotes, readCardNotes } from "../card-notes.ts";
import type { RunContext } from "../context.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { openRun, type PipelineOptions } from "../run.ts";
import { RunDirectory } from "../run-directory.ts";
import { cardText } from "../stages/card.ts";
import { finishedLayers, layersBelowGate } from "../stages/finished.ts";
import { heldOutPairs } from "../stages/harvest.ts";
import { openSetStore } from "../stages/recorded.ts";
import { reportText, reportUnit } from "../stages/report.ts";
import { bytesOf, isOutdated, outgoingFiles } from "./files.ts";
import { isAt, type Publication, readPublication } from "./publication.ts";
import { declaredLicense, licenseOf, localLicense } from "./source-license.ts";

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
  const { context, target, license, notes } = await prepared(loaded, options, runsFolder);
  const layers = finishedLayers(context);
  let publication = await readPublication(context, layers);
  if (publication !== null && !isAt(publication, options)) publication = null;
  const scratch = await mkdtemp(join(tmpdir(), "lapidary-card-"));
  try {
    const card = join(scratch, "README.md");
    const report = await currentReport(context, join(scratch, "index.html"));
    const filesWith = async (stands: Publication | null) => {
      await writeFile(card, await cardText(context, stands, notes));
      return outgoingFiles(context, { card, report }, stands !== null);
    };
    const there = target?.hasBranch ? target.repository : null;
    let files = await filesWith(publication);
    if (publication !== null && isOutdated(there, files)) files = await filesWith(null);
    return planOf(files, {
      ...options,
      exists: target === null ? null : target.repository !== null,
      license,
      there,
    });
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** The run's report where it is up to date, else a fresh one, written as `scratch`. */
async function currentReport(context: RunContext, scratch: string): Promise<string> {
  const unit = reportUnit(context);
  if (await context.state.isDone(unit.id, await unit.inputs(), unit.files())) return context.dir.report;
  await writeFile(scratch, await reportText(context));
  return scratch;
}

/** What of `files` would be sent to what is `there`. */
export function planOf(
  files: readonly OutgoingFile[],
  to: Pick<PublishPlan, "repository" | "exists" | "license"> & {
    readonly branch?: string;
    readonly there: Repository | null;
  },
): PublishPlan {
  const missing = new Set(missingFiles(to.there, files));
  return {
    repository: to.repository,
    branch: to.branch ?? "main",
    exists: to.exists,
    license: to.license,
    files: files.map((file) => ({
      path: file.path,
      bytes: file.size,
      sha256: file.sha256,
      isLfs: isLargeFile(file),
      isThere: !missing.has(file),
    })),
    sentBytes: bytesOf([...missing]),
  };
}

/** Everything that can be refused without sending anything. `target` null: the hub could not be asked. */
export async function prepared(
  loaded: LoadedRecipe,
  options: PublishOptions,
  runsFolder: string,
): Promise<{ context: RunContext; target: Target | null; license: string; notes: CardNotes }> {
  const settings = options.settings ?? hubSettings();
  const { recipe } = loaded;
  const notes = await notesOf(loaded, options, new RunDirectory(join(runsFolder, recipe.name)), settings);
  const license = licenseOf(recipe, notes, (await localLicense(loaded)) ?? notes.sourceLicense);
  if (license === null)
    throw new RecipeError(
      "the recipe names no licence, and the source SAE declares none",
      "say under which licence you publish: --license apache-2.0, for instance, or output.license in the recipe",
    );
  const { threads, signal, onEvent } = options;
  const context = await openRun(loaded, { runsFolder, threads, signal, onEvent });
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
  return { context, target, license, notes };
}

/** What the card is to say beside the results: the notes, with the licence asked for and what the source declares today. */
async function notesOf(
  loaded: LoadedRecipe,
  options: PublishOptions,
  dir: RunDirectory,
  settings: HubSettings,
): Promise<CardNotes> {
  const notes = await readCardNotes(dir);
  const noted = { ...notes, license: options.license ?? notes.license };
  const isOnHub = "from" in loaded.recipe.sae && (await localLicense(loaded)) === null;
  if (!isOnHub) return noted;
  const sourceLicense = await declaredLicense(loaded, settings).then(
    (declared) => ({ declared }),
    (error: unknown) => {
      if (error instanceof NetworkError) return notes.sourceLicense;
      throw error;
    },
  );
  return { ...noted, sourceLicense };
}
