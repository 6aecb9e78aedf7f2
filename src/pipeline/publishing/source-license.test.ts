/** Under which licence SAEs are published: what was named, the recipe, the source's card on the hub or on this disk. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { HubServer } from "../../../test/hub-server.ts";
import { hubSettings } from "../../hub/settings.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { declaredLicense, licenseOf, localLicense } from "./source-license.ts";

let server: HubServer;
let folder: string;
beforeEach(async () => {
  server = await HubServer.start();
  folder = await mkdtemp(join(tmpdir(), "license-"));
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const settings = () =>
  hubSettings({ retryDelayMs: 1 }, { HF_ENDPOINT: server.url, LAPIDARY_CACHE: join(folder, "cache") });
const from = (source: string): LoadedRecipe => ({
  folder,
  recipe: { sae: { from: source }, layers: [2, 4] } as unknown as Recipe,
});
const onHub = (card: string | null) =>
  server.add({
    type: "model",
    name: "o/saes",
    files: { "layer_2/cfg.json": "{}", ...(card !== null && { "README.md": card }) },
  });

it.each([
  ["---\nlicense: mit\n---\n# x", "mit"],
  ["---\nlicense: other\nlicense_name: gemma-terms\n---\n", "gemma-terms"],
  ["---\nlibrary_name: saelens\n---\n", null],
  ["# no header", null],
  ["---\nlicense: [a, b]\n---\n", null],
  [null, null],
])("a card on the hub: %j → %s", async (card, license) => {
  onHub(card);
  expect(await declaredLicense(from("hf:o/saes/layer_{layer}"), settings())).toBe(license);
  expect(await localLicense(from("hf:o/saes/layer_{layer}"))).toBeNull(); // the hub is not asked
});

it("a card on this disk, beside the SAE or one above; sources that do not agree declare none", async () => {
  for (const layer of [2, 4]) await mkdir(join(folder, `saes/layer_${layer}`), { recursive: true });
  expect(await localLicense(from("saes/layer_{layer}"))).toEqual({ declared: null });
  await writeFile(join(folder, "saes/README.md"), "---\nlicense: apache-2.0\n---\n");
  expect(await localLicense(from("saes/layer_{layer}"))).toEqual({ declared: "apache-2.0" });
  await writeFile(join(folder, "saes/layer_4/README.md"), "---\nlicense: mit\n---\n");
  expect(await localLicense(from("saes/layer_{layer}"))).toEqual({ declared: null });
  const scratch = { folder, recipe: { sae: { scratch: {} }, layers: [2] } as unknown as Recipe };
  expect(await localLicense(scratch)).toBeNull();
});

it("what was named in publishing stands before the recipe's, that before the source's", () => {
  const recipe = (license: string | null) => ({ output: { license } }) as Recipe;
  const source = { declared: "source" };
  expect(licenseOf(recipe("recipe"), { license: "named" }, source)).toBe("named");
  expect(licenseOf(recipe("recipe"), { license: null }, source)).toBe("recipe");
  expect(licenseOf(recipe(null), { license: null }, source)).toBe("source");
  expect(licenseOf(recipe(null), { license: null }, { declared: null })).toBeNull();
  expect(licenseOf(recipe(null), { license: null }, null)).toBeNull();
});
