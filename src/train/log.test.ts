import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { JsonLines } from "./log.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-log-"));
});
afterEach(() => rm(dir, { recursive: true }));

it("appends, knows its length in bytes, and is cut back to it when opened again", async () => {
  const path = join(dir, "x.jsonl");
  const log = await JsonLines.open(path, 0);
  await log.append({ what: "‖x‖" });
  const bytes = log.bytes;
  await log.append({ what: "lost" });
  await log.close();

  const again = await JsonLines.open(path, bytes);
  await again.append({ what: "kept" });
  expect(again.bytes).toBe((await readFile(path)).length);
  await again.close();
  expect(await readFile(path, "utf8")).toBe('{"what":"‖x‖"}\n{"what":"kept"}\n');
});

it("refuses a file that has lost lines", async () => {
  await expect(JsonLines.open(join(dir, "y.jsonl"), 10)).rejects.toThrow(/has 0 bytes/);
});
