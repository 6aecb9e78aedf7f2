/** Writes a set's window files: so many windows a file, each file whole before the next begins. Knows no sources. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../formats/safetensors.ts";
import { sweep } from "../storage/atomic.ts";
import { WindowBuffer } from "./window-buffer.ts";
import type { WindowsManifest } from "./windows.ts";

/** Windows a file. */
export const WINDOWS_PER_FILE = 4096;

export const MANIFEST = "manifest.json";

/** Removes what an earlier build left in a set's folder, whole or half. Other files are not ours and stay. */
export async function sweepWindows(dir: string): Promise<void> {
  await rm(join(dir, MANIFEST), { force: true }); // first: from here on the set is unfinished
  await sweep(dir, (name) => !/^(windows-\d{5}\.safetensors|manifest\.json)(\..*\.tmp)?$/.test(name));
}

export class WindowWriter {
  readonly files: WindowsManifest["files"][number][] = [];
  readonly #dir: string;
  readonly #buffer: WindowBuffer;

  constructor(dir: string, contextSize: number) {
    this.#dir = dir;
    this.#buffer = new WindowBuffer(contextSize, WINDOWS_PER_FILE);
  }

  async add(...window: Parameters<WindowBuffer["add"]>): Promise<void> {
    this.#buffer.add(...window);
    if (this.#buffer.nWindows === WINDOWS_PER_FILE) await this.#flush();
  }

  async finish(): Promise<WindowsManifest["files"]> {
    if (this.#buffer.nWindows > 0) await this.#flush();
    return this.files;
  }

  async #flush(): Promise<void> {
    const name = `windows-${String(this.files.length).padStart(5, "0")}.safetensors`;
    const { nWindows, contextSize, tokenIds, lengths, keep, role, document } = this.#buffer.take();
    const shape = [nWindows, contextSize];
    const { bytes, sha256 } = await writeSafetensors(
      join(this.#dir, name),
      [
        { name: "token_ids", dtype: "U32", shape, data: tokenIds },
        { name: "document", dtype: "U32", shape, data: document },
        { name: "lengths", dtype: "U32", shape: [nWindows], data: lengths },
        { name: "keep", dtype: "U8", shape, data: keep },
        { name: "role", dtype: "U8", shape, data: role },
      ],
      { format: "lapidary-windows" },
    );
    this.files.push({ name, nWindows, bytes, sha256 });
  }
}
