import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { hashBytes, hashFile } from "../storage/hash.ts";
import { JsonLines } from "./log.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-log-"));
});
afterEach(() => rm(dir, { recursive: true }));

it("appends, knows its length and hash, and is cut back to them when opened again", async () => {
  const path = join(dir, "x.jsonl");
  const log = await JsonLines.open(path, null);
  await log.append({ what: "‖x‖" });
  const mark = log.mark;
  expect(mark).toEqual({ bytes: 19, sha256: hashBytes('{"what":"‖x‖"}\n') });
  await log.append({ what: "lost" });
  await log.close();

  const again = await JsonLines.open(path, mark);
  await again.append({ what: "kept" });
  expect(again.mark.sha256).toBe(await hashFile(path));
  await again.close();
  expect(await readFile(path, "utf8")).toBe('{"what":"‖x‖"}\n{"what":"kept"}\n');
});

it("refuses a file that has lost lines", async () => {
  const mark = { bytes: 10, sha256: hashBytes("ten bytes\n") };
  await expect(JsonLines.open(join(dir, "y.jsonl"), mark)).rejects.toThrow(/has 0 bytes/);
});

it("refuses a file whose lines are others than at the mark, whatever follows them", async () => {
  const path = join(dir, "z.jsonl");
  await writeFile(path, "ten bytez\nand more\n");
  const mark = { bytes: 10, sha256: hashBytes("ten bytes\n") };
  await expect(JsonLines.open(path, mark)).rejects.toThrow(/z\.jsonl is not what it was/);
});

it("holds a file of which only the length is known to that", async () => {
  const path = join(dir, "old.jsonl");
  await writeFile(path, "ten bytes\nand more\n");
  const log = await JsonLines.open(path, { bytes: 10, sha256: null });
  expect(log.mark).toEqual({ bytes: 10, sha256: hashBytes("ten bytes\n") });
  await log.close();
  await expect(JsonLines.open(path, { bytes: 11, sha256: null })).rejects.toThrow(/has 10 bytes/);
});
