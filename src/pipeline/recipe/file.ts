/**
 * Recipes as files: read, overridden by `--set`, checked, and written back with every default filled in. Errors name
 * the key, what stood there, and for a misspelt key the nearest one that exists.
 */
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { parse, stringify } from "yaml";
import type { z } from "zod";
import { RecipeError } from "../../errors.ts";
import { type Recipe, recipeSchema } from "./recipe.ts";

/** A recipe and the folder its relative paths count from. */
export interface LoadedRecipe {
  readonly recipe: Recipe;
  readonly folder: string;
}

/** Reads, overrides and checks a recipe. `sets` are "key.path=value" with YAML values. @throws {RecipeError} */
export async function loadRecipe(path: string, sets: readonly string[] = []): Promise<LoadedRecipe> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EISDIR")
      throw new RecipeError(
        `${path} is a folder, not a recipe`,
        `a run keeps its recipe inside: ${join(path, "recipe.yaml")}`,
      );
    throw new RecipeError(
      `no recipe at ${path}`,
      "recipes/ holds examples: recipes/tiny-gemma.yaml runs on the embedded models",
    );
  });
  let raw: unknown;
  try {
    raw = parse(text, { maxAliasCount: 100, logLevel: "error" });
  } catch (error) {
    throw new RecipeError(`${path} is not YAML: ${(error as Error).message}`);
  }
  for (const set of sets) raw = override(raw, set);
  return { recipe: parseRecipe(raw, path), folder: dirname(resolve(path)) };
}

/** Checks a recipe object and fills in defaults. `where` names it in errors. @throws {RecipeError} listing every problem */
export function parseRecipe(raw: unknown, where = "recipe"): Recipe {
  const result = recipeSchema.safeParse(raw);
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap((issue) => describeIssue(issue, raw));
  throw new RecipeError(
    `${where}: ${problems.join("; ")}`,
    "recipes/recipe.schema.json lists every key; `lapidary run --help` shows how to override one",
  );
}

/** Writes `recipe` as YAML for the run folder `to`, its relative paths re-based so that it can be run from there. */
export function stringifyRecipe(recipe: Recipe, from: string, to: string): string {
  const header = "# The recipe of this run, every default written out. Paths are relative to this file.\n";
  return (
    header +
    stringify(
      mapPaths(recipe, (path) => rebase(path, from, to)),
      { lineWidth: 110 },
    )
  );
}

/** A path or hub id of the recipe as an absolute path, hub ids untouched. */
export function resolvePath(location: string, folder: string): string {
  return isHubId(location) || isAbsolute(location) ? location : resolve(folder, location);
}

/** Hub ids are written hf:owner/name; everything else is a path. */
export function isHubId(location: string): boolean {
  return location.startsWith("hf:");
}

/** A hub id as it is; of a local path only the last two parts: a card must not tell where on a disk things lay. */
export function publicName(location: string): string {
  return isHubId(location)
    ? location.slice(3)
    : location
        .split(/[\\/]/)
        .filter((part) => part !== ".." && part !== ".")
        .slice(-2)
        .join("/");
}

/** A copy of the recipe with every path (models, SAE, sources) passed through `map`; hub ids are left alone. */
export function mapPaths(recipe: Recipe, map: (path: string) => string): Recipe {
  const path = (location: string) => (isHubId(location) ? location : map(location));
  const sources = (list: Recipe["corpus"]["sources"]) =>
    list.map((s) => ({ ...s, location: path(s.location) }));
  return {
    ...recipe,
    model: { ...recipe.model, source: path(recipe.model.source) },
    baseModel: recipe.baseModel && { ...recipe.baseModel, source: path(recipe.baseModel.source) },
    sae: "from" in recipe.sae ? { ...recipe.sae, from: path(recipe.sae.from) } : recipe.sae,
    activations: {
      ...recipe.activations,
      import: recipe.activations.import && path(recipe.activations.import),
    },
    corpus: { ...recipe.corpus, sources: sources(recipe.corpus.sources) },
    eval: {
      ...recipe.eval,
      sets: recipe.eval.sets.map((set) => ({ ...set, sources: sources(set.sources) })),
      domains: recipe.eval.domains.map((set) => ({ ...set, sources: sources(set.sources) })),
    },
  };
}

function rebase(path: string, from: string, to: string): string {
  if (isAbsolute(path)) return path;
  return relative(to, resolve(from, path)).split(sep).join("/");
}

/** Applies one "a.b.0.c=value" to a copy of `raw`. */
function override(raw: unknown, set: string): unknown {
  const at = set.indexOf("=");
  if (at <= 0) throw new RecipeError(`--set ${set}: expected key=value`, "for example --set train.epochs=1");
  const keys = set.slice(0, at).split(".");
  if (keys.some((key) => key === "__proto__" || key === "constructor"))
    throw new RecipeError(`--set ${set}: no such key`);
  const value: unknown = parse(set.slice(at + 1));
  const copy: unknown = structuredClone(raw ?? {});
  let node = copy as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) {
    if (node[key] === null || typeof node[key] !== "object") node[key] = {};
    node = node[key] as Record<string, unknown>;
  }
  node[keys[keys.length - 1]] = value;
  return copy;
}

function describeIssue(issue: z.core.$ZodIssue, raw: unknown): string[] {
  const path = issue.path.map(String);
  if (issue.code === "invalid_union") {
    const branches = issue.errors.map((issues) =>
      issues.flatMap((i) => describeIssue({ ...i, path: [...issue.path, ...i.path] }, raw)),
    );
    const common = branches[0].filter((problem) => branches.every((branch) => branch.includes(problem)));
    if (common.length > 0) return common;
    return [`${path.join(".")}: either ${branches.map((branch) => branch.join(", ")).join(" — or ")}`];
  }
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const nearest = nearestKey(key, knownKeys(path));
      return `unknown key "${[...path, key].join(".")}"${nearest ? ` (did you mean "${[...path, nearest].join(".")}"?)` : ""}`;
    });
  }
  const got = path.reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], raw);
  const name = path.join(".") || "recipe";
  const missing = /^Invalid input: expected (\w+), received undefined$/.exec(issue.message);
  if (missing !== null) return [`${name} is missing (${missing[1]})`];
  return [
    `${name}: ${issue.message.replace(/^Invalid input: /, "")}${got === undefined ? "" : ` (got ${JSON.stringify(got)})`}`,
  ];
}

/** Keys that the schema knows at a path, walked through objects, arrays, defaults and nullables. */
function knownKeys(path: readonly string[]): string[] {
  let node: unknown = recipeSchema;
  for (const key of path) node = unwrap((shapeOf(node)[key] ?? elementOf(node)) as unknown);
  return Object.keys(shapeOf(node));
}

interface SchemaNode {
  readonly shape?: Record<string, unknown>;
  readonly element?: unknown;
  readonly options?: unknown[];
  readonly unwrap?: () => unknown;
}

function unwrap(node: unknown): unknown {
  const inner = (node as SchemaNode | undefined)?.unwrap;
  return typeof inner === "function" && (node as SchemaNode).element === undefined
    ? unwrap(inner.call(node))
    : node;
}

function shapeOf(node: unknown): Record<string, unknown> {
  const { shape, options } = (unwrap(node) ?? {}) as SchemaNode;
  return shape ?? Object.assign({}, ...(options ?? []).map(shapeOf));
}

function elementOf(node: unknown): unknown {
  return ((unwrap(node) ?? {}) as SchemaNode).element;
}

/** The candidate at the least edit distance, if it is near enough to be meant. */
function nearestKey(key: string, candidates: readonly string[]): string | null {
  const scored = candidates
    .map((c) => ({ c, d: editDistance(key.toLowerCase(), c.toLowerCase()) }))
    .sort((a, b) => a.d - b.d);
  return scored.length > 0 && scored[0].d <= Math.max(2, Math.floor(key.length / 3)) ? scored[0].c : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
