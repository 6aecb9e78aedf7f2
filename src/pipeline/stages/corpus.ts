/** Stage `corpus`: the training set and every held-out set as token windows, disjoint by construction and checked. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { buildCorpusSet, type CorpusSetOptions } from "../../corpus/build.ts";
import { checkDisjoint } from "../../corpus/disjoint.ts";
import type { WindowsManifest } from "../../corpus/windows.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { fileIdentity, hashFile } from "../../storage/hash.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { RunContext } from "../context.ts";
import { isHubId, publicName, resolvePath } from "../recipe/file.ts";
import type { HeldOutRecipe, SourceRecipe } from "../recipe/recipe.ts";
import type { Unit } from "./unit.ts";

/** Names of the run's window sets: "train" first, then the held-out sets, then the domains. */
export function setNames(context: RunContext): string[] {
  return ["train", ...heldOutRecipes(context).map((set) => set.name)];
}

/** Held-out sets and, after them, domains. */
function heldOutRecipes({ recipe }: RunContext): HeldOutRecipe[] {
  return [...recipe.eval.sets, ...recipe.eval.domains];
}

/** What the recipe says of a held-out set or domain; undefined for "train". */
export function heldOutRecipe(context: RunContext, set: string): HeldOutRecipe | undefined {
  return heldOutRecipes(context).find(({ name }) => name === set);
}

export function corpusUnits(context: RunContext): Unit[] {
  return setNames(context).map((set) => ({
    id: `corpus:${set}`,
    stage: "corpus" as const,
    layer: null,
    title: set === "train" ? "corpus: training windows" : `corpus: held-out windows, ${set}`,
    inputs: () => corpusInputs(context, set),
    files: () => [join(context.dir.corpus(set), "manifest.json")],
    clear: () => rm(context.dir.corpus(set), { recursive: true, force: true }),
    async run(report) {
      const manifest = await buildCorpusSet(await corpusSetOptions(context, set), {
        signal: context.options.signal,
        onProgress: ({ kept, tokens }) => report({ done: kept, total: tokens, unit: "tokens" }),
      });
      await checkAgainstOtherSets(context, set, manifest);
      if (manifest.exhausted) context.emit({ kind: "note", message: shortage(manifest) });
      const hash = await hashFile(join(context.dir.corpus(set), "manifest.json"));
      return { manifest: hash, nKept: manifest.nKept, nWindows: manifest.nWindows };
    },
  }));
}

/** Recipe → options of one set. */
async function corpusSetOptions(context: RunContext, set: string): Promise<CorpusSetOptions> {
  const { recipe, folder } = context;
  const heldOut = heldOutRecipe(context, set);
  return {
    dir: context.dir.corpus(set),
    set,
    contextSize: heldOut?.contextSize ?? recipe.contextSize,
    tokens: heldOut === undefined ? recipe.corpus.tokens : (heldOut.tokens ?? recipe.eval.tokens),
    packing: heldOut === undefined ? recipe.corpus.packing : (recipe.eval.packing ?? recipe.corpus.packing),
    prependBos: recipe.corpus.prependBos,
    excludeSpecialTokens: recipe.corpus.excludeSpecialTokens,
    excludeTokenIds: recipe.corpus.excludeTokenIds,
    tokenizerDir: await context.modelFolder("model"),
    sources: (heldOut?.sources ?? recipe.corpus.sources).map((source) => ({
      ...source,
      location: resolvePath(source.location, folder),
      label: publicName(source.location),
      config: source.config ?? undefined,
      split: source.split ?? undefined,
      toDocument: source.toDocument ?? undefined,
    })),
  };
}

async function corpusInputs(context: RunContext, set: string): Promise<Record<string, unknown>> {
  const { dir: _dir, tokenizerDir, sources, ...options } = await corpusSetOptions(context, set);
  const heldOut = heldOutRecipe(context, set);
  const recipes = heldOut?.sources ?? context.recipe.corpus.sources;
  return {
    ...options,
    tokenizer: await fileIdentity(join(tokenizerDir, "tokenizer.json")),
    sources: await Promise.all(
      sources.map(async (source, i) => ({
        ...recipes[i],
        location: publicName(source.location),
        content: await contentIdentity(source),
      })),
    ),
  };
}

/** What to say when the texts ended before the tokens asked for were gathered. */
function shortage({ set, sources, nKept, requestedTokens }: WindowsManifest): string {
  const ended = sources.filter(({ exhausted }) => exhausted).map(({ name }) => name);
  return `set "${set}" holds ${nKept} of the ${requestedTokens} tokens asked for: ${ended.join(", ")} has no more documents (the mixture is kept, and no document is used twice)`;
}

/** A local file's identity; folders and hub data sets are told apart by name alone. */
async function contentIdentity(source: Pick<SourceRecipe, "location">): Promise<string> {
  if (isHubId(source.location)) return source.location;
  const info = await statIfPresent(source.location);
  if (info === null) return "absent";
  return info.isFile() ? fileIdentity(source.location) : "folder";
}

/** Invariant 7: a held-out set shares no document with the training set, nor with another set. */
async function checkAgainstOtherSets(
  context: RunContext,
  set: string,
  manifest: WindowsManifest,
): Promise<void> {
  const others = setNames(context).filter((name) => name !== set);
  const manifests = await Promise.all(
    others.map((name) => readJsonIfPresent<WindowsManifest>(join(context.dir.corpus(name), "manifest.json"))),
  );
  checkDisjoint([manifest, ...manifests.filter((other) => other !== undefined)]);
}
