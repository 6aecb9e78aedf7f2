/**
 * A file system that fails on purpose: `node:fs/promises` and `createReadStream` of this process, patched so that the
 * n-th operation on chosen paths throws, writes less than it was given, or ends the process as a power cut would. Every
 * module sees it, also those loaded before. Not for use outside tests.
 */
import fs, { truncateSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { resolve } from "node:path";

/** What an operation does to a disk; each kind fails in its own ways. */
export type Kind =
  | "open-write"
  | "open-read"
  | "write"
  | "sync"
  | "close"
  | "read"
  | "name"
  | "remove"
  | "look";

/** What happens at the chosen operation. `short`: half of the bytes are written, then ENOSPC. `less`: half, and no error, as POSIX allows. */
export type Failure = "ENOSPC" | "EIO" | "EMFILE" | "EACCES" | "short" | "less" | "power-cut";

export interface Fault {
  /** which operation that the failure can befall, counted from 0 */
  readonly n: number;
  readonly failure: Failure;
  /** from then on every one (a disk that is full stays full) */
  readonly lasting?: boolean;
}

/** The operation that failed. */
export interface Struck {
  readonly operation: string;
  readonly path: string;
}

const CAN: Readonly<Record<Failure, readonly Kind[]>> = {
  ENOSPC: ["open-write", "write", "sync", "name"],
  EIO: ["open-read", "write", "sync", "close", "read", "name", "remove", "look"],
  EMFILE: ["open-write", "open-read", "look"],
  EACCES: ["open-write", "open-read", "name", "remove", "look"],
  short: ["write"],
  less: ["write"],
  "power-cut": ["open-write", "write", "sync", "close", "name", "remove"],
};

export const FAILURES = Object.keys(CAN) as Failure[];

const TEXT: Readonly<Record<string, readonly [errno: number, text: string]>> = {
  ENOSPC: [-28, "no space left on device"],
  EIO: [-5, "i/o error"],
  EMFILE: [-24, "too many open files"],
  EACCES: [-13, "permission denied"],
};

export class FaultyFiles {
  readonly #isTarget: (path: string) => boolean;
  #fault: Fault | null = null;
  #count = 0;
  readonly #kinds: Partial<Record<Kind, number>> = {};
  #struck: Struck | null = null;
  /** bytes of each file written since it was last synced: size at that sync */
  readonly #unsynced = new Map<string, number>();

  /** Patches this process. `isTarget` chooses the paths (absolute) that may fail. */
  constructor(isTarget: (path: string) => boolean) {
    this.#isTarget = isTarget;
    this.#patch();
  }

  arm(fault: Fault): void {
    this.#fault = fault;
    this.#count = 0;
    this.#struck = null;
  }

  /** Ends the fault; returns what it struck, or null. */
  disarm(): Struck | null {
    this.#fault = null;
    return this.#struck;
  }

  /** Operations so far that `failure` could have befallen. */
  countFor(failure: Failure): number {
    return CAN[failure].reduce((sum, kind) => sum + (this.#kinds[kind] ?? 0), 0);
  }

  /** The failure of this very operation, or null: it goes on as always. */
  #decide(kind: Kind, operation: string, path: string): Failure | null {
    const fault = this.#fault;
    if (this.#isTarget(path)) this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1;
    if (fault === null || !this.#isTarget(path) || !CAN[fault.failure].includes(kind)) return null;
    const n = this.#count++;
    if (n !== fault.n && !(fault.lasting && n > fault.n)) return null;
    this.#struck ??= { operation, path };
    if (fault.failure === "power-cut" && kind !== "write") this.#cutPower();
    return fault.failure;
  }

  #check(kind: Kind, operation: string, path: string): void {
    const failure = this.#decide(kind, operation, path);
    if (failure !== null) throw systemError(failure === "short" ? "ENOSPC" : failure, operation, path);
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
    const wrap = (name: string, kind: Kind, after?: (path: string, args: readonly unknown[]) => void) => {
      const original = files[name].bind(files) as (...args: unknown[]) => Promise<unknown>;
      files[name] = async (...args: unknown[]) => {
        const path = typeof args[0] === "string" ? resolve(args[0]) : "";
        this.#check(kind, name, path);
        const result = await original(...args);
        after?.(path, args);
        return result;
      };
    };
    wrap("rename", "name", (from, args) => this.#moved(from, resolve(args[1] as string)));
    wrap("mkdir", "name");
    wrap("link", "name");
    wrap("rm", "remove");
    wrap("unlink", "remove");
    wrap("truncate", "write");
    for (const name of ["readdir", "stat", "access", "readFile"]) wrap(name, "look");

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
      const failure = this.#decide("read", "read", resolve(path));
      if (failure !== null) stream.once("open", () => stream.destroy(systemError(failure, "read", null)));
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
    set("write", async (bytes: Uint8Array, from = 0, length = bytes.length - from, position?: number) => {
      await dirty();
      const failure = this.#decide("write", "write", path);
      if (failure === null) return original.write(bytes, from, length, position);
      const half = length >> 1;
      if (half > 0 && failure !== "ENOSPC" && failure !== "EIO")
        await original.write(bytes, from, half, position);
      if (failure === "less") return { bytesWritten: half, buffer: bytes };
      if (failure === "power-cut") this.#cutPower();
      throw systemError(failure === "short" ? "ENOSPC" : failure, "write", null);
    });
    for (const name of ["writeFile", "appendFile"] as const)
      set(name, async (content: string | Uint8Array) => {
        await dirty();
        const failure = this.#decide("write", "write", path);
        if (failure === null || failure === "less") return original[name](content);
        const bytes = Buffer.from(content as Uint8Array);
        if (failure !== "ENOSPC" && failure !== "EIO")
          await original[name](bytes.subarray(0, bytes.length >> 1));
        if (failure === "power-cut") this.#cutPower();
        throw systemError(failure === "short" ? "ENOSPC" : failure, "write", null);
      });
    set("sync", async () => {
      this.#checkHandle("sync", "fsync", path);
      await original.sync();
      this.#unsynced.delete(path);
    });
    set("read", async (...args: unknown[]) => {
      this.#checkHandle("read", "read", path);
      return original.read(...args);
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
    if (failure !== null) throw systemError(failure, operation, null);
  }

  #moved(from: string, to: string): void {
    for (const [path, size] of [...this.#unsynced]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.#unsynced.delete(path);
      this.#unsynced.set(to + path.slice(from.length), size);
    }
  }
}

function systemError(code: string, syscall: string, path: string | null): NodeJS.ErrnoException {
  const [errno, text] = TEXT[code] ?? TEXT.EIO;
  const message = `${code}: ${text}, ${syscall}${path === null ? "" : ` '${path}'`}`;
  return Object.assign(new Error(message), { code, errno, syscall, ...(path === null ? {} : { path }) });
}
