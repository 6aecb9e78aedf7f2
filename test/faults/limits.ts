/** What a machine or another process refuses as a whole: sizes of files, memory, folders, the lock. */
import { spawnSync } from "node:child_process";
import { chmodSync, statSync } from "node:fs";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { lastWritten } from "./damage.ts";
import { FaultyRuns, hasLimits } from "./faulty-run.ts";
import type { Draw, FaultKind } from "./kinds.ts";
import { BETWEEN } from "./stage-clock.ts";
import type { Trial } from "./trial.ts";
import type { StageFacts, Workbench } from "./workbench.ts";

export function limitKinds(bench: Workbench): FaultKind[] {
  const noLimits = hasLimits() ? null : "prlimit(1) is absent or not permitted";
  const kind = (
    name: string,
    missing: string | null,
    make: (draw: Draw, stage: StageFacts) => Partial<Trial>,
  ) => ({
    name,
    missing,
    canBefall: (stage: StageFacts) => stage.name !== BETWEEN,
    make: (stage: StageFacts, draw: Draw): Trial => ({ kind: name, stage, ...make(draw, stage) }),
  });
  return [
    kind("file-size limit", noLimits, (draw) => ({
      limits: { fileBytes: Math.floor(100 * 200 ** draw()) },
    })),
    kind("address-space limit", noLimits, (draw) => ({
      limits: { moreBytes: Math.floor(draw() ** 3 * (64 << 20)) },
      mayDie: true,
      named: () => [/memory/],
    })),
    kind("heap limit", null, (draw) => heapLimit(bench, 4 + Math.floor(draw() * 28))),
    kind("read-only folder", strangerIsMissing(), (draw, stage) => readOnlyFolder(bench, stage, draw)),
    kind("lock", null, (draw) => otherLock(Math.floor(draw() * LOCKS.length))),
  ];
}

/** V8 ends a process whose heap is full. */
function heapLimit(bench: Workbench, megabytes: number): Partial<Trial> {
  const runs = new FaultyRuns({ runs: bench.runsFolder, node: [`--max-old-space-size=${megabytes}`] });
  return {
    runs,
    mayDie: true,
    named: () => [/memory|heap/],
    prepare: async () => `${megabytes} MB`,
    undo: async () => runs.close(),
  };
}

/** Nobody, as most systems number them. */
const STRANGER = 65534;
const isRoot = process.getuid?.() === 0;

/** Root may write to what is read-only; another user is needed, who may read where we lie. */
function strangerIsMissing(): string | null {
  if (process.platform === "win32") return "Windows has no such folders";
  if (!isRoot) return null;
  const { status } = spawnSync(process.execPath, ["-e", "0"], { uid: STRANGER, gid: STRANGER });
  const isOpen = ancestors(import.meta.dirname).every((folder) => (statSync(folder).mode & 0o5) === 0o5);
  return status === 0 && isOpen ? null : "root may write anywhere, and another user cannot run here";
}

function ancestors(path: string): string[] {
  return dirname(path) === path ? [path] : [path, ...ancestors(dirname(path))];
}

function readOnlyFolder(bench: Workbench, stage: StageFacts, draw: Draw): Partial<Trial> {
  const root = join(bench.folder, "open");
  const user = isRoot ? STRANGER : undefined;
  const runs = new FaultyRuns({ runs: root, user });
  const chosen = draw();
  let folder = root;
  return {
    root,
    runs,
    named: () => [root],
    async prepare(run) {
      chmodSync(bench.folder, 0o755);
      const folders = [root, ...(await foldersWritten(run, stage))];
      folder = folders[Math.floor(chosen * folders.length)];
      if (user !== undefined) spawnSync("chown", ["-R", `${user}:${user}`, root]);
      await chmod(folder, 0o555);
      return folder.slice(bench.folder.length + 1);
    },
    async undo() {
      runs.close();
      await chmod(folder, 0o755).catch(() => {});
    },
  };
}

/** Folders that are there already and that the stage writes into. */
async function foldersWritten(run: string, stage: StageFacts): Promise<string[]> {
  const folders = (await lastWritten(stage)).map((file) => dirname(join(run, file)));
  return [...new Set(folders)].filter((folder) => statSync(folder, { throwIfNoEntry: false }) !== undefined);
}

const LOCKS: readonly (readonly [what: string, text: () => string, refuses: boolean])[] = [
  ["of a living process", () => JSON.stringify({ pid: process.pid, host: hostname() }), true],
  ["of another machine", () => JSON.stringify({ pid: 1, host: `not-${hostname()}` }), true],
  ["of a process that is gone", () => JSON.stringify({ pid: 2 ** 22 + 1, host: hostname() }), false],
  ["half written", () => '{"pid": 1', false],
];

function otherLock(which: number): Partial<Trial> {
  const [what, text, refuses] = LOCKS[which];
  return {
    refuses,
    named: () => [/process/],
    async prepare(run) {
      await mkdir(run, { recursive: true });
      await writeFile(join(run, "run.lock"), text());
      return `lock ${what}`;
    },
    undo: (run, outcome) =>
      outcome === "came through" ? Promise.resolve() : rm(join(run, "run.lock"), { force: true }),
  };
}
