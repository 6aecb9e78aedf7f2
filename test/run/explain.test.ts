/** `lapidary explain` on a run: its stored activations prove where latents are silent, its corpus where documents end. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ChatServer } from "../explain/chat-server.ts";
import { knowsTheRule } from "../explain/seen-prompt.ts";
import { readManifest, readRows } from "../explain/worlds.ts";
import { commandLine } from "./command-line.ts";
import { smallRun } from "./small-recipe.ts";

vi.setConfig({ testTimeout: 600_000 }); // other tests may have the cores

const INDEX = "runs/small/index/blocks.4.hook_resid_post.after";
let folder: string;
let server: ChatServer;
const lapidary = (...args: string[]) => commandLine(folder, ...args);
const explain = (what: string) =>
  lapidary("explain", what, "--endpoint", server.url, "--model", "m", "--sample", "40", "--score", "12");

beforeAll(async () => {
  server = await ChatServer.start({ answer: knowsTheRule });
  const made = await smallRun({ baseModel: null, polish: { when: "never" } });
  folder = made.folder;
  const small = ["corpus.tokens=4000", "train.epochs=1", "eval.tokens=400"].flatMap((value) => [
    "--set",
    value,
  ]);
  const run = await lapidary(
    "run",
    made.recipe,
    "--only",
    "corpus,harvest,before,train,export,after,polish",
    ...small,
  );
  expect(run.stderr).not.toContain("lapidary:");
}, 600_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

it("a run without an index says how to make one", async () => {
  const { code, stderr } = await explain("runs/small");
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /runs\/small holds no such latent index\n {2}try: make it: lapidary index runs\/small/,
  );
});

it("explains and scores, every negative proved, no context beyond its document; the index itself is the same", async () => {
  const indexed = await lapidary("index", "runs/small");
  expect(indexed, indexed.stderr).toMatchObject({ code: 0 });
  const done = await explain("runs/small");
  expect(done, done.stderr).toMatchObject({ code: 0 });
  const dir = join(folder, INDEX);
  const rows = await readRows(dir);
  expect(rows).toHaveLength(40);
  const tested = rows.filter(({ n_negatives }) => n_negatives !== null);
  expect(tested.length).toBeGreaterThan(2);
  for (const row of tested) expect(row.negative_error).toBe(0);
  expect(tested.some(({ n_hard_negatives }) => Number(n_hard_negatives) > 0)).toBe(true);
  expect((await readManifest(dir)).runs[0].options).toMatchObject({ contextsEndAt: "document" });
  const contexts = server.seen.flatMap(({ prompt }) => prompt.texts);
  expect(contexts.some((text) => text.startsWith("<bos>"))).toBe(true);
  for (const text of contexts)
    expect(text.replaceAll(/[«»]/g, "").lastIndexOf("<bos>"), text).toBeLessThan(1);

  const nSent = server.seen.length;
  expect((await explain(INDEX)).stdout).toMatch(/^0 requests sent/m);
  expect(server.seen.length).toBe(nSent);
});
