/** One process a run: a lock file with the owner's process id. A lock whose owner is gone (kill -9, power cut) is taken over. */
import { mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { StateError } from "../errors.ts";
import { fileError } from "../storage/file-error.ts";

/** Takes the lock; the returned function gives it back. @throws {StateError} a living process on this machine holds it */
export async function lockRun(path: string): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw fileError(error, path);
  });
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      await writeLock(path);
      return () => rm(path, { force: true }).catch(() => {}); // who comes next sees that its owner is gone
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw fileError(error, path);
      await takeOverIfStale(path);
    }
  }
  throw new StateError(
    `${path} cannot be taken`,
    "another process keeps taking it; wait, or choose another run name",
  );
}

async function writeLock(path: string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(JSON.stringify({ pid: process.pid, host: hostname() }));
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    await rm(path, { force: true }).catch(() => {});
    throw error;
  }
}

/** A lock without a name in it that is younger than this is being written. */
const WRITING_MS = 2000;

async function takeOverIfStale(path: string): Promise<void> {
  const text = await readFile(path, "utf8").catch(() => "");
  const age = Date.now() - ((await stat(path).catch(() => null))?.mtimeMs ?? 0);
  if (text === "" && age < WRITING_MS) {
    await setTimeout(150);
    return;
  }
  let owner: { pid?: unknown; host?: unknown } = {};
  try {
    owner = JSON.parse(text || "{}") as typeof owner;
  } catch {
    // a torn lock: its writer died while writing it
  }
  if (
    typeof owner.pid === "number" &&
    owner.host === hostname() &&
    owner.pid !== process.pid &&
    isAlive(owner.pid)
  ) {
    throw new StateError(
      `process ${owner.pid} is working on this run`,
      "wait for it, stop it, or give this run another name (--set name=…)",
    );
  }
  if (typeof owner.host === "string" && owner.host !== hostname()) {
    throw new StateError(`a process on ${owner.host} is working on this run`, `if it is not, delete ${path}`);
  }
  await rm(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
