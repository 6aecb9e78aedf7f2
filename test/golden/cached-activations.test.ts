/** Activation caches of the real SAELens runner, imported: every activation, token and place exactly as SAELens wrote it. */
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { importActivations } from "../../src/activations/import.ts";
import { openActivationStore } from "../../src/activations/store.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { countAbsent, goldenFolder } from "./cases.ts";

/** Folders that hold expected.safetensors and, in `dataset`, what the runner wrote. */
const cases = (readdirSync(goldenFolder, { recursive: true }) as string[])
  .filter((path) => basename(path) === "expected.safetensors")
  .map((path) => join(goldenFolder, dirname(path)))
  .filter((dir) => existsSync(join(dir, "dataset", "dataset_info.json")));

let out: string;
beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), "lapidary-import-"));
});
afterEach(async () => {
  await rm(out, { recursive: true, force: true });
});

async function expectedOf(dir: string) {
  const file = await openSafetensors(join(dir, "expected.safetensors"));
  try {
    const [nContexts, contextSize, dIn] = file.tensors.get("activations")!.shape;
    const activations = await file.readF32("activations");
    const tokenIds = Array.from(await file.read("token_ids"), Number);
    return { nContexts, contextSize, dIn, activations, tokenIds };
  } finally {
    await file.close();
  }
}

describe("activation caches of SAELens", () => {
  countAbsent("activation caches", cases);
  for (const dir of cases) {
    it(`${basename(dir)}: every row exactly`, async () => {
      const expected = await expectedOf(dir);
      const nRows = expected.nContexts * expected.contextSize;
      await importActivations({ source: join(dir, "dataset"), out });
      const store = await openActivationStore(out);
      expect([store.nRows, store.dIn]).toEqual([nRows, expected.dIn]);
      expect(store.manifest.hookName).toMatch(/^blocks\.\d+\.hook_/);
      const rows = await store.rows(0, nRows);
      expect(rows.activations).toEqual(expected.activations);
      expect([...rows.tokenIds]).toEqual(expected.tokenIds);
      expect([...rows.document]).toEqual(
        expected.tokenIds.map((_, i) => Math.floor(i / expected.contextSize)),
      );
      expect([...rows.position]).toEqual(expected.tokenIds.map((_, i) => i % expected.contextSize));
      await store.close();
    });

    it(`${basename(dir)}: without the tokens that are excluded`, async () => {
      const { contextSize, dIn, activations, tokenIds } = await expectedOf(dir);
      const excludedTokenIds = [...new Set(tokenIds)].slice(0, 3);
      const kept = [...tokenIds.keys()].filter((i) => !excludedTokenIds.includes(tokenIds[i]));
      await importActivations({ source: join(dir, "dataset"), out, excludedTokenIds });
      const store = await openActivationStore(out);
      const rows = await store.rows(0, store.nRows);
      expect([...rows.tokenIds]).toEqual(kept.map((i) => tokenIds[i]));
      expect([...rows.position]).toEqual(kept.map((i) => i % contextSize));
      expect([...rows.activations]).toEqual(
        kept.flatMap((i) => [...activations.subarray(i * dIn, (i + 1) * dIn)]),
      );
      await store.close();
    });
  }
});
