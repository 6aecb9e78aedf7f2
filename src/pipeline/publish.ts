/**
 * Publishes a run: the saved SAEs with card, results, logs and report, as one commit. Then the revision that was made is
 * downloaded into an empty folder, loaded, evaluated again and compared with the results; that it is the same goes into
 * `verification.json` and onto the card, as a second commit.
 */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { GateError, RecipeError, StateError, VerifyError } from "../errors.ts";
import { NetworkError } from "../hub/hub-fetch.ts";
import { pullFiles } from "../hub/pull.ts";
import { isLargeFile, missingFiles, type OutgoingFile, outgoingFile, pushFiles } from "../hub/push.ts";
import type { Repository } from "../hub/repository.ts";
import { type HubSettings, hubSettings } from "../hub/settings.ts";
import { findTarget, makeTarget, requireToken, type Target } from "../hub/target.ts";
import { canonicalHookName } from "../sae/hook-name.ts";
import { writeJson } from "../storage/atomic.ts";
import { statIfPresent } from "../storage/file-error.ts";
import type { RunContext } from "./context.ts";
import { type Publication, publicationOf, readPublication } from "./publication.ts";
import type { LoadedRecipe } from "./recipe-file.ts";
import { doUnit, openRun, type PipelineOptions } from "./run.ts";
import { RunDirectory } from "./run-directory.ts";
import { lockRun } from "./run-lock.ts";
import { declaredLicense } from "./source-license.ts";
import { cardText, cardUnit, finishedLayers, layersBelowGate } from "./stages/card.ts";
import { exportedId } from "./stages/export.ts";
import { heldOutPairs } from "./stages/harvest.ts";
import { openSetStore } from "./stages/recorded.ts";
import { differencesText, exportRecord, verifyLayer } from "./stages/verify.ts";

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
  const { context, target } = await prepared(loaded, options, runsFolder);
  const { dir } = context;
  const layers = finishedLayers(context);
  if (target === null)
    throw new NetworkError(`${settings.endpoint} cannot be reached`, { hint: "check the network" });
  const existing = target.hasBranch ? target.repository : null;
  const renewCard = () => doUnit(context, cardUnit(context), false, async () => {});
  const forget = async () => {
    await rm(dir.publication, { force: true });
    await renewCard();
  };

  let publication = await readPublication(context, layers);
  if (publication === null || publication.repository !== options.repository) await forget();
  else await renewCard();
  publication = await readPublication(context, layers);
  let files = await outgoingFiles(context, dir.card, publication !== null);
  if (publication !== null && isOutdated(existing, files)) {
    await forget();
    publication = null;
    files = await outgoingFiles(context, dir.card, false);
  }
  checkSaved(context, layers, files);
  const there = await makeTarget(target, settings, options);
  const first = missingFiles(there, files);
  let pushed = await send(context, there, files, options, loaded.recipe.output.title ?? loaded.recipe.name);
  let nSent = first.length;
  let sentBytes = bytesOf(first);
  if (publication === null) {
    await verifyPublished(context, pushed, layers, files);
    publication = publicationOf(context, layers, { repository: options.repository, revision: pushed.commit });
    await writeJson(dir.publication, publication);
    await renewCard();
    const all = await outgoingFiles(context, dir.card, true);
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

/** Everything that can be refused without sending anything. `target` null: the hub could not be asked. */
async function prepared(
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

const CARD = "README.md";
const VERIFICATION = "verification.json";

/** Does more differ than what a verification changes? Then it says nothing of what is to be published. */
function isOutdated(there: Repository | null, files: readonly OutgoingFile[]): boolean {
  return missingFiles(there, files).some(({ path }) => path !== CARD && path !== VERIFICATION);
}

/** Everything of a run that is published, at its path in the repository. */
async function outgoingFiles(
  context: RunContext,
  card: string,
  withVerification: boolean,
): Promise<OutgoingFile[]> {
  const { dir } = context;
  const layers = finishedLayers(context);
  const paths: [path: string, file: string][] = [[CARD, card]];
  for (const layer of layers) {
    const id = exportedId(context, layer);
    for (const name of await namesIn(dir.sae(id))) paths.push([`${id}/${name}`, join(dir.sae(id), name)]);
  }
  const evals = dirname(dir.splice("after"));
  for (const name of await namesIn(evals))
    if (name.endsWith(".json")) paths.push([`evals/${name}`, join(evals, name)]);
  for (const layer of layers)
    for (const polish of [false, true])
      for (const name of ["metrics.jsonl", "events.jsonl"])
        paths.push([
          `train/${canonicalHookName(layer)}${polish ? ".polish" : ""}/${name}`,
          join(dir.train(layer, polish), name),
        ]);
  paths.push(["report/index.html", dir.report]);
  if (withVerification) paths.push([VERIFICATION, dir.publication]);
  const files: OutgoingFile[] = [];
  for (const [path, file] of paths)
    if ((await statIfPresent(file)) !== null) files.push(await outgoingFile(path, file));
  return files;
}

/** Names of the files in a folder, without those that are being written. */
async function namesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".tmp"))
    .map(({ name }) => name)
    .sort();
}

/** @throws {VerifyError} a saved SAE is not what the run saved */
function checkSaved(context: RunContext, layers: readonly number[], files: readonly OutgoingFile[]): void {
  const found = new Map(files.map(({ path, sha256 }) => [path, sha256]));
  for (const layer of layers) {
    const id = exportedId(context, layer);
    for (const [name, recorded] of Object.entries(exportRecord(context, layer).files))
      if (found.get(`${id}/${name}`) !== recorded)
        throw new VerifyError(
          `${id}/${name} is not what the run saved; nothing was published`,
          `delete ${context.dir.sae(id)} and run the recipe again`,
        );
  }
}

async function send(
  context: RunContext,
  there: Repository,
  files: readonly OutgoingFile[],
  options: PublishOptions,
  title: string,
): Promise<Repository> {
  const missing = missingFiles(there, files);
  if (missing.length === 0) return there;
  const what = `send ${missing.length} files to ${there.name}`;
  return told(context, "publish", what, (progress) =>
    pushFiles(there, files, {
      title,
      xet: options.xet,
      signal: options.signal,
      onProgress: (done, total) => progress({ done, total, unit: "bytes" }),
    }),
  );
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

/** Does one step, and tells the listener of it. */
async function told<T>(
  context: RunContext,
  unit: string,
  title: string,
  work: (report: (progress: { done: number; total: number | null; unit: string }) => void) => Promise<T>,
): Promise<T> {
  context.emit({ kind: "begin", unit, title, resumed: false });
  const started = performance.now();
  const result = await work((progress) => context.emit({ kind: "progress", unit, progress }));
  const seconds = Math.round(performance.now() - started) / 1000;
  context.emit({ kind: "done", unit, title, seconds });
  return result;
}

function bytesOf(files: readonly OutgoingFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
