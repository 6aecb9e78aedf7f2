/**
 * Work that another run has done already. A unit's inputs are everything that decides its result, so with equal inputs
 * another run's corpus, activations and first evaluation are this run's, too, and what a model computed in hours is not
 * computed again for another seed. Files are hard-linked: they take no disk twice, each run's folder stays whole by
 * itself (every command works on it, whatever becomes of the other), and nobody writes into a finished file.
 */
import { constants } from "node:fs";
import { copyFile, link, mkdir, readdir } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { FormatError } from "../errors.ts";
import { hashFile } from "../storage/hash.ts";
import type { RunContext } from "./context.ts";
import { RunDirectory } from "./run-directory.ts";
import { RunState } from "./run-state.ts";
import type { StageName, Unit } from "./stages/unit.ts";

/** Stages whose units are taken over, as far as they come before training; the others depend on the seed. */
const SHARED: readonly StageName[] = ["corpus", "harvest", "before", "splice"];

const MANIFEST = "manifest.json";

/** Where a run may find its work done, and whether it may give up work of its own for it. */
export interface TakeOverOptions {
  /** folders of runs, asked in this order */
  readonly takeFrom?: readonly string[];
  readonly overwrite?: boolean;
}

/**
 * Takes over what it can of `units`, in order, up to the first shared one that nobody has done: later ones build on it.
 * What the files say of themselves is checked against the other run's record; the data behind a manifest when they are
 * read.
 * @throws {FormatError} the other run's file is not what it recorded
 */
export async function takeOver(
  context: RunContext,
  units: readonly Unit[],
  { takeFrom = [], overwrite = false }: TakeOverOptions,
): Promise<void> {
  const { state, dir } = context;
  const others = takeFrom.filter((run) => run !== dir.root);
  if (others.length === 0) return;
  const taken = new Map<string, number>();
  for (const unit of units.filter(({ stage }) => SHARED.includes(stage))) {
    if (unit.isWanted !== undefined && !(await unit.isWanted())) continue;
    const inputs = await unit.inputs();
    if (await state.isDone(unit.id, inputs, unit.files())) continue;
    const mayReplace = overwrite || unit.isDerived === true;
    if (!mayReplace && state.changes(unit.id, inputs).length > 0) break; // to be refused when its turn comes
    const run = await whoDid(unit, inputs, dir.root, others);
    if (run === null) break;
    await unit.clear();
    for (const { there, here } of run.files) await linkResult(there, here);
    await state.begin(unit.id, inputs);
    await state.finish(unit.id, run.output, 0, unit.isDerived === true ? unit.files() : []);
    taken.set(run.name, (taken.get(run.name) ?? 0) + 1);
  }
  for (const [name, n] of taken)
    context.emit({ kind: "note", message: `shared with run ${name}, not made again: ${n} steps` });
}

interface DoneElsewhere {
  readonly name: string;
  readonly output: Readonly<Record<string, unknown>>;
  readonly files: readonly { readonly there: string; readonly here: string }[];
}

async function whoDid(
  unit: Unit,
  inputs: Readonly<Record<string, unknown>>,
  root: string,
  runs: readonly string[],
): Promise<DoneElsewhere | null> {
  for (const run of runs) {
    const name = basename(run);
    const state = await RunState.open(new RunDirectory(run).state, name, {});
    const files = unit.files().map((here) => ({ here, there: join(run, relative(root, here)) }));
    const isDone = await state.isDone(
      unit.id,
      inputs,
      files.map(({ there }) => there),
    );
    if (!isDone) continue;
    const output = state.output(unit.id);
    for (const { there } of files) await refuseOtherThanRecorded(there, output);
    return { name, output, files };
  }
  return null;
}

/** A unit records the hash of every file it is told by: a manifest, or a file of results. */
async function refuseOtherThanRecorded(
  file: string,
  { stores, ...output }: Readonly<Record<string, unknown>>,
): Promise<void> {
  const recorded = [...Object.values(output), ...Object.values((stores ?? {}) as Record<string, unknown>)];
  const found = await hashFile(file);
  if (recorded.includes(found)) return;
  throw new FormatError(file, `its bytes hash to ${found}, its run recorded something else`, {
    hint: `the file was damaged or replaced: delete ${dirname(file)} and run that recipe again`,
  });
}

/** A manifest comes with its folder, and last: until it is there, what lies beside it does not count. */
async function linkResult(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  if (basename(from) === MANIFEST)
    for (const entry of await readdir(dirname(from), { withFileTypes: true }))
      if (entry.isFile() && entry.name !== MANIFEST && !entry.name.endsWith(".tmp"))
        await linkFile(join(dirname(from), entry.name), join(dirname(to), entry.name));
  await linkFile(from, to);
}

/** A second name for a file; a copy where the file system has no such thing. */
async function linkFile(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!["EXDEV", "EPERM", "ENOTSUP", "ENOSYS", "EMLINK"].includes(code ?? "")) throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
}
