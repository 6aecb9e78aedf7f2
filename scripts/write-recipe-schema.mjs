/**
 * Writes recipes/recipe.schema.json, by which editors check and complete recipes, from the schema in src/pipeline/recipe.ts.
 * A test fails while the file is stale.
 *
 *   npm run schema
 */
import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { register } from "tsx/esm/api";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
register();
const { recipeJsonSchema } = await import("../src/pipeline/recipe.ts");
const path = join(root, "recipes/recipe.schema.json");
writeFileSync(path, `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`);
console.log(path);
