/** A disk that is really full: a small tmpfs. Needs root and mount(8) on Linux, and is skipped, visibly, without. */
import { spawnSync } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { commandLine } from "../run/command-line.ts";
import { contentsOf, differences } from "../run/contents.ts";
import { LEFT_OUT, tinyRun } from "./tiny-run.ts";

const isRoot = process.platform === "linux" && process.getuid?.() === 0;

it("a full disk is told in one line; with room made, the same command ends with the same bits", {
  timeout: 120_000,
}, async ({ skip }) => {
  if (!isRoot) skip("needs root on Linux");
  const { folder, recipe } = await tinyRun();
  const disk = join(folder, "disk");
  await mkdir(disk);
  if (mount("size=1m", disk) !== 0) {
    await rm(folder, { recursive: true });
    skip("mount is not permitted here");
  }
  try {
    const run = (...runs: string[]) => commandLine(folder, "run", recipe, "--quiet", ...runs);
    expect((await run()).code).toBe(0);
    const full = await run("--runs", "disk");
    expect(`${full.code} ${full.stderr}`).toMatch(/^1 lapidary: .*disk.*(no space left|free)/);
    expect(full.stderr).not.toContain("this was not expected");
    expect(mount("remount,size=600m", disk)).toBe(0);
    const roomy = await run("--runs", "disk");
    expect(`${roomy.code} ${roomy.stderr}`).toBe("0 ");
    const expected = await contentsOf(join(folder, "runs/small"), "small", LEFT_OUT);
    expect(differences(expected, await contentsOf(join(disk, "small"), "small", LEFT_OUT))).toEqual([]);
  } finally {
    spawnSync("umount", [disk]);
    await rm(folder, { recursive: true, force: true });
  }
});

function mount(options: string, folder: string): number | null {
  return spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder]).status;
}
