/** Which index a path means: itself, or one of a run's by layer and phase; and what is said where that is not clear. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findIndex } from "./find-index.ts";

let run: string;
const at = (name: string) => join(run, "index", `blocks.${name.replace(".", ".hook_resid_post.")}`);

async function putIndex(name: string): Promise<void> {
  await mkdir(at(name), { recursive: true });
  await writeFile(join(at(name), "index.json"), "{}");
}

beforeAll(async () => {
  run = await mkdtemp(join(tmpdir(), "lapidary-find-index-"));
  await putIndex("4.after");
  await mkdir(join(run, "index/matches"));
});
afterAll(() => rm(run, { recursive: true, force: true }));

it("takes an index by itself, which needs no choosing", async () => {
  expect(await findIndex(at("4.after"))).toBe(at("4.after"));
  await expect(findIndex(at("4.after"), { layer: 4 })).rejects.toThrow(/is an index already/);
  await expect(findIndex(at("4.after"), { before: true })).rejects.toThrow(/is an index already/);
});

it("takes a run's only one, and of several the one that was asked for", async () => {
  expect(await findIndex(run)).toBe(at("4.after"));
  await expect(findIndex(run, { before: true })).rejects.toThrow(
    /no such latent index; it has blocks\.4\.\S+\.after$/,
  );
  await putIndex("4.before");
  expect(await findIndex(run)).toBe(at("4.after"));
  expect(await findIndex(run, { before: true })).toBe(at("4.before"));
  await putIndex("6.after");
  await expect(findIndex(run)).rejects.toThrow(/several indexes: .*4\.\S+after.*4\.\S+before.*6\.\S+after/);
  expect(await findIndex(run, { layer: 6 })).toBe(at("6.after"));
  await expect(findIndex(run, { layer: 6, before: true })).rejects.toThrow(/no such latent index/);
  await expect(findIndex(run, { layer: 5 })).rejects.toThrow(/no such latent index/);
});

it("says so where there is none", async () => {
  await expect(findIndex(join(run, "elsewhere"))).rejects.toThrow(/elsewhere holds no such latent index$/);
});
