/**
 * A file system that fails on purpose: `node:fs/promises` and `createReadStream` of this process, patched so that the
 * n-th operation of a stage on chosen paths fails in one of the ways of `failures.ts`. Every module sees it, also those
 * loaded before. Not for use outside tests.
 */
import { spawnSync } from "node:child_process";
import fs, { closeSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import {
  type Counts,
  type Fault,
  FILE_FAILURES,
  type FileFailure,
  type Kind,
  type Struck,
  systemError,
} from "./failures.ts";
import type { StageClock } from "./stage-clock.ts";

/** Functions of `node:fs/promises` that take a path, and what each does; `open` is patched by itself. */
export const PATCHED: Readonly<Record<string, Kind>> = {
  rename: "name",
  mkdir: "name",
  link: "name",
  copyFile: "write-all",
  cp: "write-all",
  truncate: "write-all",
  rm: "remove",
  unlink: "remove",
  readdir: "look",
  stat: "look",
  statfs: "look",
  lstat: "look",
  access: "look",
  realpath: "look",
  readFile: "look",
};

/** Fills a small disk: made by `full-disk`, removed by whoever makes room. */
export const BALLAST = "ballast";

export interface Places {
  /** paths that may fail */
  readonly isTarget: (path: string) => boolean;
  /** the run's folder that holds a path; undefined outside of runs */
  readonly runOf: (path: string) => string | undefined;
  /** a mounted disk of a few megabytes, or null */
  readonly disk: string | null;
}

export class FaultyFiles {
  readonly #places: Places;
  readonly #clock: StageClock;
  #fault: (Fault & { readonly failure: FileFailure }) | null = null;
  #count = 0;
  #counts: Record<string, Counts> = {};
  #struck: Struck | null = null;
  /** bytes of each file written since it was last synced: size at that sync */
  readonly #unsynced = new Map<string, number>();

  /** Patches this process. */
  constructor(places: Places, clock: StageClock) {
    this.#places = places;
    this.#clock = clock;
    this.#patch();
  }

  arm(fault: Fault | null): void {
    const isMine = fault !== null && fault.failure in FILE_FAILURES;
    this.#fault = isMine ? (fault as Fault & { failure: FileFailure }) : null;
    this.#count = 0;
    this.#counts = {};
    this.#struck = null;
  }

  /** Ends the fault; returns what it struck, or null. */
  disarm(): Struck | null {
    this.#fault = null;
    return this.#struck;
  }

  /** Operations since `arm`, by stage. */
  get counts(): Readonly<Record<string, Counts>> {
    return this.#counts;
  }

  /** The failure of this very operation, or null: it goes on as always. */
  #decide(kind: Kind, operation: string, path: string): FileFailure | null {
    if (!this.#places.isTarget(path)) return null;
    const { stage } = this.#clock;
    this.#counts[stage] ??= {};
    this.#counts[stage][kind] = (this.#counts[stage][kind] ?? 0) + 1;
    const fault = this.#fault;
    if (fault === null) return null;
    const kinds: readonly Kind[] = fault.of === undefined ? FILE_FAILURES[fault.failure] : [fault.of];
    const isOver = fault.lasting === true && this.#struck !== null;
    if (!kinds.includes(kind) || (fault.stage !== null && fault.stage !== stage && !isOver)) return null;
    const n = this.#count++;
    if (n !== fault.n && !isOver && !(fault.failure === "read-only-disk" && n > fault.n)) return null;
    if (!this.#comesTrue(fault.failure, path)) return null;
    this.#struck ??= { operation, path, stage };
    if (fault.failure === "power-cut" && kind !== "write" && kind !== "write-all") this.#cutPower();
    return ["vanish", "full-disk", "read-only-disk"].includes(fault.failure) ? null : fault.failure;
  }

  /** Does to the disk itself what is to be done to it; false if it cannot be done at this moment. */
  #comesTrue(failure: FileFailure, path: string): boolean {
    const { runOf, disk } = this.#places;
    if (failure === "vanish") {
      const run = runOf(path);
      if (run === undefined) return false;
      rmSync(path.length % 2 === 0 ? run : dirname(path), { recursive: true, force: true });
    }
    if (failure === "full-disk") fill(join(disk!, BALLAST));
    if (failure === "read-only-disk" && this.#struck === null)
      return spawnSync("mount", ["-o", "remount,ro", disk!]).status === 0;
    return true;
  }

  #check(kind: Kind, operation: string, path: string): void {
    const failure = this.#decide(kind, operation, path);
    if (failure !== null) throw systemError(codeOf(failure), operation, path);
  }

  /** What was never synced is lost, and the process with it. */
  #cutPower(): never {
    for (const [path, size] of this.#unsynced)
      try {
        truncateSync(path, size);
      } catch {
        // renamed over or removed since
      }
    process.kill(process.pid, "SIGKILL");
    for (;;);
  }

  #patch(): void {
    const files = fs.promises as unknown as Record<string, (...args: never[]) => Promise<unknown>>;
    for (const [name, kind] of Object.entries(PATCHED)) {
      const original = files[name].bind(files) as (...args: unknown[]) => Promise<unknown>;
      files[name] = (async (...args: unknown[]) => {
        const path = typeof args[0] === "string" ? resolve(args[0]) : "";
        this.#check(kind, name, path);
        const result = await original(...args);
        if (name === "rename") this.#moved(path, resolve(args[1] as string));
        return result;
      }) as never;
    }

    const open = fs.promises.open.bind(fs.promises);
    files.open = (async (path: string, flags: string | number = "r", ...rest: never[]) => {
      const full = resolve(path);
      const isRead = flags === "r" || flags === fs.constants.O_RDONLY;
      this.#check(isRead ? "open-read" : "open-write", "open", full);
      return this.#wrapHandle(await open(path, flags, ...rest), full, isRead);
    }) as never;

    const createReadStream = fs.createReadStream.bind(fs);
    fs.createReadStream = ((path: string, options: never) => {
      const stream = createReadStream(path, options);
      const failure = this.#decide("stream", "read", resolve(path));
      if (failure !== null)
        stream.once("open", () => stream.destroy(systemError(codeOf(failure), "read", null)));
      return stream;
    }) as typeof fs.createReadStream;
    syncBuiltinESMExports();
  }

  #wrapHandle(handle: FileHandle, path: string, isRead: boolean): FileHandle {
    const set = (name: keyof FileHandle, value: unknown) =>
      Object.defineProperty(handle, name, { value, configurable: true });
    const original = {
      write: handle.write.bind(handle) as (...args: unknown[]) => Promise<unknown>,
      writeFile: handle.writeFile.bind(handle),
      appendFile: handle.appendFile.bind(handle),
      read: handle.read.bind(handle) as (...args: unknown[]) => Promise<unknown>,
      sync: handle.sync.bind(handle),
      stat: handle.stat.bind(handle),
      close: handle.close.bind(handle),
    };
    const dirty = async () => {
      if (!this.#unsynced.has(path)) this.#unsynced.set(path, isRead ? 0 : (await original.stat()).size);
    };
    const failWrite = async (failure: FileFailure, half: () => Promise<unknown>): Promise<never> => {
      if (failure === "short" || failure === "power-cut") await half();
      if (failure === "power-cut") this.#cutPower();
      throw systemError(codeOf(failure), "write", null);
    };
    set("write", async (bytes: Uint8Array, from = 0, length = bytes.length - from, position?: number) => {
      await dirty();
      const failure = this.#decide("write", "write", path);
      if (failure === null) return original.write(bytes, from, length, position);
      const half = () => original.write(bytes, from, length >> 1, position);
      return failure === "part-written" ? half() : failWrite(failure, half);
    });
    for (const name of ["writeFile", "appendFile"] as const)
      set(name, async (content: string | Uint8Array) => {
        await dirty();
        const failure = this.#decide("write-all", "write", path);
        if (failure === null) return original[name](content);
        const bytes = Buffer.from(content as Uint8Array);
        return failWrite(failure, () => original[name](bytes.subarray(0, bytes.length >> 1)));
      });
    set("sync", async () => {
      this.#checkHandle("sync", "fsync", path);
      await original.sync();
      this.#unsynced.delete(path);
    });
    set("read", async (into: Uint8Array, from = 0, length = into.length - from, position?: number) => {
      const failure = this.#decide("read", "read", path);
      if (failure !== null && failure !== "part-read") throw systemError(codeOf(failure), "read", null);
      return original.read(into, from, failure === null ? length : Math.ceil(length / 2), position);
    });
    set("stat", async (...args: never[]) => {
      this.#checkHandle("look", "fstat", path);
      return original.stat(...args);
    });
    set("close", async () => {
      await original.close();
      this.#checkHandle("close", "close", path);
    });
    return handle;
  }

  /** As the system says it of an open file: without a path. */
  #checkHandle(kind: Kind, operation: string, path: string): void {
    const failure = this.#decide(kind, operation, path);
    if (failure !== null) throw systemError(codeOf(failure), operation, null);
  }

  #moved(from: string, to: string): void {
    if (basename(to) === "run.json" && this.#places.runOf(to) !== undefined) this.#clock.look(to);
    for (const [path, size] of [...this.#unsynced]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.#unsynced.delete(path);
      this.#unsynced.set(to + path.slice(from.length), size);
    }
  }
}

function codeOf(failure: FileFailure): string {
  return failure === "short" ? "ENOSPC" : failure;
}

/** Writes until there is no room for one byte more. */
function fill(path: string): void {
  const file = openSync(path, "a");
  try {
    for (let bytes = 1 << 20; bytes >= 1; )
      try {
        if (writeSync(file, Buffer.alloc(bytes)) < bytes) bytes >>= 1;
      } catch {
        bytes >>= 1;
      }
  } finally {
    closeSync(file);
  }
}
