/**
 * Writes the JSON Schemas from the schemas in the code: recipes/recipe.schema.json, by which editors check and complete
 * recipes, and docs/formats/contract.schema.json, by which anyone may check a contract. Tests fail while one is stale.
 *
 *   npm run schema
 */
import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { register } from "tsx/esm/api";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
register();
const { recipeJsonSchema } = await import("../src/pipeline/recipe/recipe.ts");
const { contractJsonSchema } = await import("../src/publish/contract.ts");
for (const [file, schema] of [
  ["recipes/recipe.schema.json", recipeJsonSchema()],
  ["docs/formats/contract.schema.json", contractJsonSchema()],
]) {
  const path = join(root, file);
  writeFileSync(path, `${JSON.stringify(schema, null, 2)}\n`);
  console.log(path);
}
