/** What can be done to a run's files and memory on purpose, and to which operations it can be done. */

/** What an operation does to a disk; each kind fails in its own ways. `write-all` is a call that writes until all is written. */
export type Kind =
  | "open-write"
  | "open-read"
  | "write"
  | "write-all"
  | "sync"
  | "close"
  | "read"
  | "stream"
  | "name"
  | "remove"
  | "look";

const KINDS: readonly Kind[] = [
  "open-write",
  "open-read",
  "write",
  "write-all",
  "sync",
  "close",
  "read",
  "stream",
  "name",
  "remove",
  "look",
];

/**
 * What happens at the chosen operation.
 *
 *   E…             it throws the system's error of that name
 *   short          half of the bytes are written, then ENOSPC
 *   part-written   half of the bytes are written, and that is said: POSIX allows it
 *   part-read      half of the bytes are read, likewise
 *   power-cut      the process ends, and with it what was never synced
 *   vanish         the operation's folder, or the whole run's, is removed under it
 *   full-disk      the disk is filled to its last byte, in earnest
 *   read-only-disk the disk is made read-only, in earnest
 */
export const FILE_FAILURES = {
  EIO: KINDS,
  ENOSPC: ["open-write", "write", "write-all", "sync", "name"],
  EDQUOT: ["open-write", "write", "write-all", "sync", "name"],
  EROFS: ["open-write", "name", "remove"],
  EACCES: ["open-write", "open-read", "name", "remove", "look"],
  EMFILE: ["open-write", "open-read", "stream", "look"],
  EFBIG: ["write", "write-all"],
  short: ["write", "write-all"],
  "part-written": ["write"],
  "part-read": ["read"],
  "power-cut": ["open-write", "write", "write-all", "sync", "close", "name", "remove"],
  vanish: KINDS,
  "full-disk": ["open-write", "write", "write-all", "sync", "name"],
  "read-only-disk": KINDS,
} as const satisfies Record<string, readonly Kind[]>;

export type FileFailure = keyof typeof FILE_FAILURES;

/** `kill`: SIGKILL from another thread, `n` microseconds into the stage. `allocation`: an array that cannot be had. */
export type Failure = FileFailure | "kill" | "allocation";

export interface Fault {
  readonly failure: Failure;
  /** which stage it befalls; null: whatever is under way */
  readonly stage: string | null;
  /** which of the stage's operations that the failure can befall, counted from 0; of a kill: microseconds */
  readonly n: number;
  /** only operations of this kind, and counted among them */
  readonly of?: Kind;
  /** from then on every one (a disk that is full stays full) */
  readonly lasting?: boolean;
}

/** The operation that failed. */
export interface Struck {
  readonly operation: string;
  readonly path: string;
  readonly stage: string;
}

/** Operations of each kind; and arrays made, for `allocation`. */
export type Counts = Partial<Record<Kind | "allocation", number>>;

/** How many of the operations `counts` can be befallen. */
export function countFor(failure: Failure, counts: Counts): number {
  if (failure === "kill") return 0;
  const kinds: readonly (Kind | "allocation")[] =
    failure === "allocation" ? ["allocation"] : FILE_FAILURES[failure];
  return kinds.reduce((sum, kind) => sum + (counts[kind] ?? 0), 0);
}

const ERRORS: Readonly<Record<string, readonly [errno: number, text: string]>> = {
  EIO: [-5, "i/o error"],
  ENOSPC: [-28, "no space left on device"],
  EDQUOT: [-122, "disk quota exceeded"],
  EROFS: [-30, "read-only file system"],
  EACCES: [-13, "permission denied"],
  EMFILE: [-24, "too many open files"],
  EFBIG: [-27, "file too large"],
};

/** An error as Node makes it of the system's; operations on an open file know no path. */
export function systemError(code: string, syscall: string, path: string | null): NodeJS.ErrnoException {
  const [errno, text] = ERRORS[code];
  const message = `${code}: ${text}, ${syscall}${path === null ? "" : ` '${path}'`}`;
  return Object.assign(new Error(message), { code, errno, syscall, ...(path === null ? {} : { path }) });
}
