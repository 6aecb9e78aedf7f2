/** recipes/: the JSON Schema for editors is the one the code would write today, and every recipe points to it and is valid. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { loadRecipe } from "../src/pipeline/recipe/file.ts";
import { recipeJsonSchema } from "../src/pipeline/recipe/recipe.ts";

const folder = fileURLToPath(new URL("../recipes/", import.meta.url));

it("recipe.schema.json is fresh: `npm run schema` writes it", () => {
  const written = readFileSync(join(folder, "recipe.schema.json"), "utf8");
  expect(written).toBe(`${JSON.stringify(recipeJsonSchema(), null, 2)}\n`);
});

it.each(readdirSync(folder).filter((name) => name.endsWith(".yaml")))("%s", async (name) => {
  const [first] = readFileSync(join(folder, name), "utf8").split("\n");
  expect(first).toBe("# yaml-language-server: $schema=./recipe.schema.json");
  expect((await loadRecipe(join(folder, name))).recipe.name).toBe(name.replace(/\.yaml$/, ""));
});
