/** Reads a corpus set back, window by window. A file's hash is checked before its first window is believed. */
import { join } from "node:path";
import { FormatError, ShapeError } from "../errors.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import { MANIFEST } from "./window-writer.ts";
import type { WindowBatch, WindowSet, WindowsManifest } from "./windows.ts";

/** Opens the set in `dir`. @throws {FormatError} it is unfinished, or not a set of windows */
export async function openWindowSet(dir: string): Promise<WindowSet> {
  const path = join(dir, MANIFEST);
  if ((await statIfPresent(path)) === null)
    throw new FormatError(path, "no such file: the set is absent or its build was not finished", {
      hint: "run the corpus stage again",
    });
  const manifest = await readJson<WindowsManifest>(path);
  checkManifest(path, manifest);
  return new FolderWindowSet(dir, manifest);
}

class FolderWindowSet implements WindowSet {
  readonly dir: string;
  readonly manifest: WindowsManifest;
  readonly #checked = new Map<string, Promise<void>>();

  constructor(dir: string, manifest: WindowsManifest) {
    this.dir = dir;
    this.manifest = manifest;
  }

  async read(from: number, to: number): Promise<WindowBatch> {
    const { nWindows, contextSize } = this.manifest;
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= nWindows))
      throw new ShapeError(
        `windows of set "${this.manifest.set}"`,
        [from, to],
        `a range within [0, ${nWindows}]`,
      );
    const n = to - from;
    const batch = {
      first: from,
      nWindows: n,
      contextSize,
      tokenIds: new Uint32Array(n * contextSize),
      lengths: new Uint32Array(n),
      keep: new Uint8Array(n * contextSize),
      role: new Uint8Array(n * contextSize),
      document: new Uint32Array(n * contextSize),
    };
    let begin = 0;
    for (const file of this.manifest.files) {
      const end = begin + file.nWindows;
      const [low, high] = [Math.max(from, begin), Math.min(to, end)];
      if (low < high) await this.#readFile(file, low - begin, high - begin, batch, low - from);
      begin = end;
    }
    return batch;
  }

  async #readFile(
    file: WindowsManifest["files"][number],
    from: number,
    to: number,
    batch: WindowBatch,
    at: number,
  ): Promise<void> {
    const path = join(this.dir, file.name);
    if (!this.#checked.has(file.name)) this.#checked.set(file.name, checkHash(path, file));
    await this.#checked.get(file.name);
    const tensors = await openSafetensors(path);
    try {
      const wide = at * batch.contextSize;
      batch.tokenIds.set((await tensors.readRows("token_ids", from, to)) as Uint32Array, wide);
      batch.document.set((await tensors.readRows("document", from, to)) as Uint32Array, wide);
      batch.keep.set((await tensors.readRows("keep", from, to)) as Uint8Array, wide);
      batch.role.set((await tensors.readRows("role", from, to)) as Uint8Array, wide);
      batch.lengths.set((await tensors.readRows("lengths", from, to)) as Uint32Array, at);
    } finally {
      await tensors.close();
    }
  }
}

async function checkHash(
  path: string,
  file: { readonly bytes: number; readonly sha256: string },
): Promise<void> {
  const info = await statIfPresent(path);
  if (info === null) throw new FormatError(path, "no such file, but the manifest names it");
  if (info.size !== file.bytes)
    throw new FormatError(path, `${info.size} bytes, the manifest says ${file.bytes}`);
  const hash = await hashFile(path);
  if (hash !== file.sha256)
    throw new FormatError(path, `its bytes hash to ${hash}, the manifest says ${file.sha256}`, {
      hint: "the file is damaged: delete the set's folder and run the corpus stage again",
    });
}

function checkManifest(path: string, manifest: WindowsManifest): void {
  if (manifest?.format !== "lapidary-windows" || manifest.version !== 1)
    throw new FormatError(
      path,
      `format "${manifest?.format}" version ${manifest?.version}, expected "lapidary-windows" version 1`,
    );
  const total = manifest.files.reduce((sum, file) => sum + file.nWindows, 0);
  if (total !== manifest.nWindows)
    throw new FormatError(path, `its files hold ${total} windows, nWindows says ${manifest.nWindows}`);
  for (const { name } of manifest.files)
    if (!/^windows-\d{5}\.safetensors$/.test(name)) throw new FormatError(path, `names the file "${name}"`);
}
