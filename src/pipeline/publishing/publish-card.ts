/**
 * The card alone: written anew from the results, with links to pages elsewhere, and sent to where the run was published. All
 * else there must be what this run has; otherwise the card would tell of results that nobody can see.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HubError, StateError } from "../../errors.ts";
import { missingFiles, type OutgoingFile } from "../../hub/push.ts";
import type { Repository } from "../../hub/repository.ts";
import { type HubSettings, hubSettings } from "../../hub/settings.ts";
import { findTarget, requireToken } from "../../hub/target.ts";
import { type CardLink, type CardNotes, readCardNotes, withLinks, writeCardNotes } from "../card-notes.ts";
import type { RunContext } from "../context.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { doUnit, openRun, type PipelineOptions } from "../run.ts";
import { RunDirectory } from "../run-directory.ts";
import { lockRun } from "../run-lock.ts";
import { cardText, cardUnit } from "../stages/card.ts";
import { finishedLayers } from "../stages/finished.ts";
import { bytesOf, CARD, checkSaved, isOutdated, outgoingFiles } from "./files.ts";
import { type PublishPlan, planOf } from "./plan.ts";
import { type Publication, readPublication } from "./publication.ts";
import { send } from "./send.ts";
import { licenseOf, localLicense } from "./source-license.ts";

/** What the card is to say more, and whether it is to be sent. */
export interface CardOptions extends Pick<PipelineOptions, "signal" | "onEvent"> {
  /** recorded for later cards; one of a name that is recorded takes its place */
  readonly links?: readonly CardLink[];
  /** true: to where the run was published, an error if it was not; false: stays here; default: sent if it was published */
  readonly send?: boolean;
  readonly settings?: HubSettings;
}

/** What became of it. `sent` null: it stays here. */
export interface RenewedCard {
  readonly card: string;
  readonly links: readonly CardLink[];
  readonly sent: {
    readonly repository: string;
    readonly commit: string;
    /** 0: what is there says the same */
    readonly nSent: number;
    readonly sentBytes: number;
  } | null;
}

/**
 * Notes the links, writes the card, and sends it. Stopped anywhere, the same call goes on.
 * @throws {StateError} it is to be sent, and the run is not published, or more than its card differs from what is there
 * @throws {HubError} the hub refused, or the branch moved
 */
export async function renewCard(
  loaded: LoadedRecipe,
  options: CardOptions,
  runsFolder: string,
): Promise<RenewedCard> {
  const dir = new RunDirectory(join(runsFolder, loaded.recipe.name));
  const unlock = await lockRun(dir.lock);
  try {
    const { context, notes, publication } = await opened(loaded, options, runsFolder);
    await writeCardNotes(dir, notes);
    await doUnit(context, cardUnit(context), false, async () => {});
    if (publication === null) return { card: dir.card, links: notes.links, sent: null };
    const settings = options.settings ?? hubSettings();
    requireToken(settings);
    const { there, files } = await published(context, publication, dir.card, settings);
    const missing = missingFiles(there, files);
    const { commit } = await send(context, there, files, options, titleOf(options.links ?? []));
    const { repository } = publication;
    return {
      card: dir.card,
      links: notes.links,
      sent: { repository, commit, nSent: missing.length, sentBytes: bytesOf(missing) },
    };
  } finally {
    await unlock();
  }
}

/** What `renewCard` would send; writes nothing, sends nothing. `plan` null: it would stay here. */
export async function planCard(
  loaded: LoadedRecipe,
  options: CardOptions,
  runsFolder: string,
): Promise<{ text: string; links: readonly CardLink[]; plan: PublishPlan | null }> {
  const { context, notes, publication } = await opened(loaded, options, runsFolder);
  const stands = await readPublication(context, finishedLayers(context));
  const text = await cardText(context, stands, notes);
  if (publication === null) return { text, links: notes.links, plan: null };
  const scratch = await mkdtemp(join(tmpdir(), "lapidary-card-"));
  try {
    const card = join(scratch, CARD);
    await writeFile(card, text);
    const { there, files } = await published(context, publication, card, options.settings ?? hubSettings());
    const { repository, branch } = publication;
    const license = licenseOf(loaded.recipe, notes, (await localLicense(loaded)) ?? notes.sourceLicense);
    const alone = files.filter(({ path }) => path === CARD);
    const plan = planOf(alone, { repository, branch, exists: true, license: license ?? "none", there });
    return { text, links: notes.links, plan };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** `publication` null: the card is not to be sent. */
async function opened(
  loaded: LoadedRecipe,
  options: CardOptions,
  runsFolder: string,
): Promise<{ context: RunContext; notes: CardNotes; publication: Publication | null }> {
  const { signal, onEvent, send: wanted, links = [] } = options;
  const context = await openRun(loaded, { runsFolder, signal, onEvent });
  const noted = await readCardNotes(context.dir);
  const notes = { ...noted, links: withLinks(noted.links, links) };
  if (wanted === false) return { context, notes, publication: null };
  const publication = await readPublication(context, finishedLayers(context));
  if (publication === null && wanted === true)
    throw new StateError(
      `${context.dir.root} is not published as it is now`,
      `lapidary publish ${context.dir.root} hf:owner/name sends all of it`,
    );
  return { context, notes, publication };
}

/** What is published, and all files of the run, of which the card alone may differ. */
async function published(
  context: RunContext,
  { repository, branch = "main" }: Publication,
  card: string,
  settings: HubSettings,
): Promise<{ there: Repository; files: OutgoingFile[] }> {
  const { repository: there, hasBranch } = await findTarget(
    repository,
    branch,
    settings,
    context.options.signal,
  );
  if (there === null || !hasBranch)
    throw new HubError(`${repository} has no branch ${branch} any more`, {
      hint: `lapidary publish ${context.dir.root} hf:${repository} publishes the run again`,
    });
  const files = await outgoingFiles(context, { card, report: context.dir.report }, true);
  checkSaved(context, finishedLayers(context), files);
  if (isOutdated(there, files))
    throw new StateError(
      `more than the card differs from what ${repository} holds: ${missingFiles(there, files)[0].path}; nothing was sent`,
      `lapidary publish ${context.dir.root} hf:${repository} sends and verifies all of it`,
    );
  return { there, files };
}

function titleOf(links: readonly CardLink[]): string {
  return links.length === 0 ? "Card" : `Card: ${links.map(({ name }) => name).join(", ")}`;
}
