/** One process a run, and no run lost to a process that died. */
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { lockRun } from "./run-lock.ts";

let folder: string;
let lock: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lapidary-lock-"));
  lock = join(folder, "run.lock");
});
afterEach(() => rm(folder, { recursive: true }));

const heldBy = (pid: number, host = hostname()) => writeFile(lock, JSON.stringify({ pid, host }));

it("is taken and given back", async () => {
  const unlock = await lockRun(lock);
  await access(lock);
  await unlock();
  await expect(access(lock)).rejects.toThrow("ENOENT");
});

it("is refused while a living process holds it, here or elsewhere", async () => {
  await heldBy(process.ppid);
  await expect(lockRun(lock)).rejects.toThrow(`process ${process.ppid} is working on this run`);
  await heldBy(1, "another-machine");
  await expect(lockRun(lock)).rejects.toThrow("a process on another-machine is working on this run");
});

it.each([
  ["a process that is gone", () => heldBy(2 ** 30)],
  ["a writer that died while writing it", () => writeFile(lock, '{"pid": 1')],
])("is taken over from %s", async (_who, leave) => {
  await leave();
  await (await lockRun(lock))();
});

it("an empty lock is about to be written: it is waited for", async () => {
  await writeFile(lock, "");
  const taking = lockRun(lock);
  await heldBy(process.ppid);
  await expect(taking).rejects.toThrow("is working on this run");
});
