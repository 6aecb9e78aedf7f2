/** Files of some hundred latents each, in a folder that appears when all of them are there. */
import { existsSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { StateError } from "../../errors.ts";
import { commitFolder, sweepTemporary, writeFileAtomically } from "../../storage/atomic.ts";
import type { LatentRecord } from "./records.ts";

export interface BatchesOptions {
  /** the folder to make */
  readonly dir: string;
  /** tells this content from any other; what was begun under another is made anew */
  readonly fingerprint: string;
  readonly nLatents: number;
  readonly latentsPerFile: number;
  /** Files beside the batches, by their names, written last. */
  readonly extras: Readonly<Record<string, string>>;
  /** The file of batch `i` that is written last: where it is, the batch is done. */
  readonly lastOf: (batch: number) => string;
  /** The files of batch `i`, by their names, that one last. */
  readonly files: (
    batch: number,
    records: readonly LatentRecord[],
  ) => readonly (readonly [string, string | Uint8Array])[];
  readonly records: (from: number, to: number) => AsyncIterable<LatentRecord>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Writes the files in a hidden folder beside `dir`, and names it `dir` when it is whole. Interrupted, the same call goes on
 * with the first batch that is missing. Files are the same bytes however often it was interrupted.
 * @throws {StateError} `dir` exists
 */
export async function writeBatches(
  options: BatchesOptions,
): Promise<{ readonly nBatches: number; readonly nResumed: number }> {
  const { dir, nLatents, latentsPerFile, lastOf, files, records, extras, signal, onProgress } = options;
  if (existsSync(dir))
    throw new StateError(`${dir} is there already`, "name another folder, or remove this one");
  const partial = await partialFolder(dir, options.fingerprint);
  const nBatches = Math.ceil(nLatents / latentsPerFile);
  let nResumed = 0;
  for (let batch = 0; batch < nBatches; batch++) {
    if (existsSync(join(partial, lastOf(batch)))) nResumed++;
    else {
      const from = batch * latentsPerFile;
      const read: LatentRecord[] = [];
      for await (const record of records(from, Math.min(nLatents, from + latentsPerFile))) read.push(record);
      for (const [name, content] of files(batch, read))
        await writeFileAtomically(join(partial, name), content);
    }
    onProgress?.(Math.min(nLatents, (batch + 1) * latentsPerFile), nLatents);
    signal?.throwIfAborted();
  }
  for (const [name, text] of Object.entries(extras)) await writeFileAtomically(join(partial, name), text);
  await commitFolder(partial, dir);
  return { nBatches, nResumed };
}

/** Of a fingerprint, in a folder's name. */
const HASH_LETTERS = 16;

/** The folder that work goes on in; those of other content under the same name are removed. */
async function partialFolder(dir: string, fingerprint: string): Promise<string> {
  const [parent, name] = [dirname(dir), basename(dir)];
  const nameFor = (hash: string) => `.${name}.${hash}.partial`;
  const mine = nameFor(fingerprint.slice(0, HASH_LETTERS));
  await mkdir(join(parent, mine), { recursive: true });
  for (const other of await readdir(parent)) {
    const hash = other.slice(name.length + 2, name.length + 2 + HASH_LETTERS);
    if (other !== mine && /^[0-9a-f]+$/.test(hash) && other === nameFor(hash))
      await rm(join(parent, other), { recursive: true, force: true });
  }
  await sweepTemporary(join(parent, mine));
  for (const entry of await readdir(join(parent, mine), { withFileTypes: true }))
    if (entry.isDirectory()) await sweepTemporary(join(parent, mine, entry.name));
  return join(parent, mine);
}
