/** Reads a corpus set back, window by window. A file's hash is checked before its first window is believed. */
import { join } from "node:path";
import { z } from "zod";
import { FormatError, ShapeError } from "../errors.ts";
import { openSafetensors, type SafetensorsFile } from "../formats/safetensors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import { MANIFEST } from "./window-writer.ts";
import type { WindowBatch, WindowSet, WindowsManifest } from "./windows.ts";

/** Longest windows that a set may claim. */
const MAX_CONTEXT_SIZE = 1 << 24;
/** token_ids and document u32, keep and role u8 */
const BYTES_PER_TOKEN = 10;

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
      checkShapes(tensors, file.nWindows, batch.contextSize);
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

function checkShapes({ path, tensors }: SafetensorsFile, nWindows: number, contextSize: number): void {
  const wide = [nWindows, contextSize];
  const expected = {
    token_ids: ["U32", wide],
    document: ["U32", wide],
    keep: ["U8", wide],
    role: ["U8", wide],
    lengths: ["U32", [nWindows]],
  } as const;
  for (const [name, [dtype, shape]] of Object.entries(expected)) {
    const info = tensors.get(name);
    if (info?.dtype === dtype && info.shape.join() === shape.join()) continue;
    const got = info === undefined ? "absent" : `${info.dtype} [${info.shape.join(", ")}]`;
    throw new FormatError(path, `tensor "${name}" is ${got}, expected ${dtype} [${shape.join(", ")}]`);
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

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

/** What reading relies on; keys beside these may be there. */
const manifestSchema = z.looseObject({
  format: z.literal("lapidary-windows"),
  version: z.literal(1),
  set: z.string(),
  contextSize: z.number().int().positive().max(MAX_CONTEXT_SIZE),
  nWindows: count,
  nTokens: count,
  nKept: count,
  packing: z.enum(["saelens", "document"]),
  bosTokenId: count.nullable(),
  excludedTokenIds: z.array(count),
  tokenizerHash: z.string(),
  chatTemplateHash: z.string().nullable(),
  sources: z.array(z.looseObject({ name: z.string(), documents: z.tuple([count, count]) })),
  files: z.array(
    z.strictObject({
      name: z.string().regex(/^windows-\d{5}\.safetensors$/),
      nWindows: count,
      bytes: count,
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});

function checkManifest(path: string, manifest: unknown): void {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(path, `not a manifest of a window set: ${issue.path.join(".")}: ${issue.message}`, {
      hint: "delete the set's folder and run the corpus stage again",
    });
  }
  const { nWindows, contextSize, files } = parsed.data;
  const total = files.reduce((sum, file) => sum + file.nWindows, 0);
  if (total !== nWindows)
    throw new FormatError(path, `its files hold ${total} windows, nWindows says ${nWindows}`);
  for (const { name, bytes, nWindows: n } of files)
    if (n * contextSize * BYTES_PER_TOKEN > bytes)
      throw new FormatError(
        path,
        `${name} cannot hold ${n} windows of ${contextSize} tokens in ${bytes} bytes`,
      );
}
