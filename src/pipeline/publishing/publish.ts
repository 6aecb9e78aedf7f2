/**
 * Publishes a run: the saved SAEs with card, results, logs and report, as one commit. Then the revision that was made is
 * downloaded into an empty folder, loaded, evaluated again and compared with the results; that it is the same goes into
 * `verification.json` and onto the card, as a second commit.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { VerifyError } from "../../errors.ts";
import { NetworkError } from "../../hub/hub-fetch.ts";
import { pullFiles } from "../../hub/pull.ts";
import { missingFiles, type OutgoingFile } from "../../hub/push.ts";
import type { Repository } from "../../hub/repository.ts";
import { hubSettings } from "../../hub/settings.ts";
import { makeTarget, requireToken } from "../../hub/target.ts";
import { writeJson } from "../../storage/atomic.ts";
import { writeCardNotes } from "../card-notes.ts";
import type { RunContext } from "../context.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { doUnit } from "../run.ts";
import { RunDirectory } from "../run-directory.ts";
import { lockRun } from "../run-lock.ts";
import { cardUnit } from "../stages/card.ts";
import { exportedId } from "../stages/export.ts";
import { finishedLayers } from "../stages/finished.ts";
import { reportUnit } from "../stages/report.ts";
import { differencesText, verifyLayer } from "../stages/verify.ts";
import { bytesOf, checkSaved, isOutdated, outgoingFiles } from "./files.ts";
import { type PublishOptions, prepared } from "./plan.ts";
import { isAt, publicationOf, readPublication } from "./publication.ts";
import { send, told } from "./send.ts";

/** What became of it. */
export interface Published {
  readonly repository: string;
  /** that holds the verification */
  readonly commit: string;
  /** that was downloaded and verified */
  readonly verified: string;
  readonly nSent: number;
  readonly sentBytes: number;
}

/**
 * Publishes and verifies. Stopped anywhere, the same call goes on.
 * @throws {GateError} a layer is below the gate; {RecipeError} no licence; {StateError} the run is not finished
 * @throws {HubError} the hub refused, or the branch moved; {VerifyError} what was saved or published is not what was measured
 */
export async function publishRun(
  loaded: LoadedRecipe,
  options: PublishOptions,
  runsFolder: string,
): Promise<Published> {
  const unlock = await lockRun(new RunDirectory(join(runsFolder, loaded.recipe.name)).lock);
  try {
    return await publishLocked(loaded, options, runsFolder);
  } finally {
    await unlock();
  }
}

async function publishLocked(
  loaded: LoadedRecipe,
  options: PublishOptions,
  runsFolder: string,
): Promise<Published> {
  const settings = options.settings ?? hubSettings();
  requireToken(settings);
  const { context, target, notes } = await prepared(loaded, options, runsFolder);
  const { dir } = context;
  const layers = finishedLayers(context);
  if (target === null)
    throw new NetworkError(`${settings.endpoint} cannot be reached`, { hint: "check the network" });
  const existing = target.hasBranch ? target.repository : null;
  const renewCard = () => doUnit(context, cardUnit(context), false, async () => {});
  await writeCardNotes(dir, notes);
  await doUnit(context, reportUnit(context), false, async () => {}); // the card points to it
  const forget = async () => {
    await rm(dir.publication, { force: true });
    await renewCard();
  };

  let publication = await readPublication(context, layers);
  if (publication === null || !isAt(publication, options)) await forget();
  else await renewCard();
  publication = await readPublication(context, layers);
  let files = await outgoingFiles(context, dir, publication !== null);
  if (publication !== null && isOutdated(existing, files)) {
    await forget();
    publication = null;
    files = await outgoingFiles(context, dir, false);
  }
  checkSaved(context, layers, files);
  const there = await makeTarget(target, settings, options);
  const first = missingFiles(there, files);
  let pushed = await send(context, there, files, options, loaded.recipe.output.title ?? loaded.recipe.name);
  let nSent = first.length;
  let sentBytes = bytesOf(first);
  if (publication === null) {
    await verifyPublished(context, pushed, layers, files);
    const { repository, branch } = options;
    publication = publicationOf(context, layers, { repository, branch, revision: pushed.commit });
    await writeJson(dir.publication, publication);
    await renewCard();
    const all = await outgoingFiles(context, dir, true);
    const second = missingFiles(pushed, all);
    pushed = await send(
      context,
      pushed,
      all,
      options,
      `Verified: ${pushed.commit.slice(0, 12)} is what was measured`,
    );
    nSent += second.length;
    sentBytes += bytesOf(second);
  }
  return {
    repository: options.repository,
    commit: pushed.commit,
    verified: publication.revision,
    nSent,
    sentBytes,
  };
}

/** Downloads what was published into an empty folder and compares it with the run's records. */
async function verifyPublished(
  context: RunContext,
  pushed: Repository,
  layers: readonly number[],
  files: readonly OutgoingFile[],
): Promise<void> {
  const ours = new Set(files.map(({ path }) => path));
  const folder = join(context.dir.root, "published.tmp");
  await rm(folder, { recursive: true, force: true });
  try {
    await told(context, "download", `download ${pushed.commit.slice(0, 12)} of ${pushed.name}`, (progress) =>
      pullFiles(
        pushed,
        pushed.files.filter(({ path }) => ours.has(path)),
        folder,
        {
          signal: context.options.signal,
          onProgress: ({ doneBytes, totalBytes }) =>
            progress({ done: doneBytes, total: totalBytes, unit: "bytes" }),
        },
      ),
    );
    for (const layer of layers) {
      const id = exportedId(context, layer);
      const differences = await told(
        context,
        `verify:${layer}`,
        `verify layer ${layer} as published`,
        (report) => verifyLayer(context, layer, report, join(folder, id)),
      );
      if (differences.length > 0)
        throw new VerifyError(
          `${pushed.name} at ${pushed.commit}: ${id} is not what was measured: ${differencesText(differences)}`,
          "it is published without a verification; look at the difference, then publish again",
        );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
