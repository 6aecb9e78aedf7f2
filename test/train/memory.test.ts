/** From a file to the first step, and from a checkpoint: no second copy of the weights is there when training takes its memory. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addon } from "../parity/cases.ts";
import type { MemoryReading } from "./memory-child.ts";

/** V8 lets 64 MB of arrays lie that nobody holds: pieces of files on their way. And the heap grows a little. */
const PASSING_BYTES = 85e6;

const { present, missing } = addon();

describe.skipIf(!present || process.platform !== "linux")(`memory of a training run${missing}`, () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "lapidary-memory-"));
    child("save", dir);
  });
  afterAll(() => rm(dir, { recursive: true }));

  it.each(["start", "resume"])(
    "%s: what the engine plans, and less than a copy of the weights more",
    (what) => {
      const { planned, grown, weights }: MemoryReading = JSON.parse(child(what, dir));
      expect(weights).toBeGreaterThan(PASSING_BYTES);
      expect(grown).toBeGreaterThan(0.7 * planned);
      expect(grown).toBeLessThan(planned + PASSING_BYTES);
    },
  );
});

function child(what: string, dir: string): string {
  const script = fileURLToPath(new URL("memory-child.ts", import.meta.url));
  const args = ["--expose-gc", "--import", import.meta.resolve("tsx"), script, what, dir];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}
