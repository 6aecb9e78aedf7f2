/**
 * What every stage of a run has at hand: the recipe, the run's folders and state, and the expensive things (models,
 * engines) opened once, on first use. Reports go to one listener; nothing here prints.
 */
import { RecipeError } from "../errors.ts";
import { resolveSource } from "../hub/source.ts";
import type { MemoryPart } from "../kernels/memory.ts";
import { selectEngine } from "../kernels/select.ts";
import { inspectModel, type ModelInspection } from "../models/inspect.ts";
import type { ResidualModel } from "../models/residual-model.ts";
import { canonicalHookName, sameHook } from "../sae/hook-name.ts";
import { filesOfSae, loadSae, loadSaeFacts, type OpenSae, openSae, type SaeFacts } from "../sae/load.ts";
import { localSae } from "../sae/location.ts";
import type { Sae } from "../sae/sae.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { fileIdentity } from "../storage/hash.ts";
import { choosePaths } from "./model-identity.ts";
import { publicName, resolvePath } from "./recipe/file.ts";
import type { ModelRecipe, Recipe } from "./recipe/recipe.ts";
import type { ModelKey, RunDirectory } from "./run-directory.ts";
import type { RunState } from "./run-state.ts";

/** Progress of the unit at work. `total` null: unknown. `details`: what to show beside the bar. */
export interface Progress {
  readonly done: number;
  readonly total: number | null;
  /** what is counted: "tokens", "steps", "windows" … */
  readonly unit: string;
  readonly details?: Readonly<Record<string, number | string>>;
}

/** What a run tells its listener. */
export type RunEvent =
  | { readonly kind: "begin"; readonly unit: string; readonly title: string; readonly resumed: boolean }
  | { readonly kind: "progress"; readonly unit: string; readonly progress: Progress }
  | { readonly kind: "done"; readonly unit: string; readonly title: string; readonly seconds: number }
  | { readonly kind: "skipped"; readonly unit: string; readonly title: string }
  /** before a unit trains: what it will hold at its peak, in bytes, and what there is */
  | {
      readonly kind: "memory";
      readonly unit: string;
      readonly parts: readonly MemoryPart[];
      readonly total: number;
      readonly free: number;
    }
  | { readonly kind: "note"; readonly message: string };

/** What may differ between two runs of a recipe without changing their results. */
export interface RunOptions {
  /** of the engine; ONNX Runtime's are the recipe's `model.threads` */
  readonly threads?: number;
  readonly allowOtherBits?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

async function identityOrAbsent(path: string): Promise<string> {
  return (await statIfPresent(path)) === null ? "absent" : fileIdentity(path);
}

export class RunContext {
  readonly recipe: Recipe;
  /** relative paths in the recipe count from here */
  readonly folder: string;
  readonly dir: RunDirectory;
  readonly state: RunState;
  readonly options: RunOptions;
  #engine: ReturnType<typeof selectEngine> | null = null;
  readonly #models = new Map<ModelKey, Promise<ResidualModel>>();
  readonly #modelFolders = new Map<ModelKey, Promise<string>>();
  readonly #inspections = new Map<ModelKey, Promise<ModelInspection>>();
  readonly #saeFolders = new Map<number, Promise<string>>();

  constructor(recipe: Recipe, folder: string, dir: RunDirectory, state: RunState, options: RunOptions) {
    this.recipe = recipe;
    this.folder = folder;
    this.dir = dir;
    this.state = state;
    this.options = options;
  }

  emit(event: RunEvent): void {
    this.options.onEvent?.(event);
  }

  /** The engine this machine runs, chosen once. */
  engine(): ReturnType<typeof selectEngine> {
    this.#engine ??= selectEngine(this.recipe.engine);
    return this.#engine;
  }

  modelRecipe(key: ModelKey): ModelRecipe {
    const model = key === "model" ? this.recipe.model : this.recipe.baseModel;
    if (model === null) throw new RecipeError("the recipe names no baseModel");
    return model;
  }

  /** The model as tables and cards call it. */
  get modelName(): string {
    return publicName(this.recipe.model.source);
  }

  /** Local folder of a model, downloaded first if it lies on the hub. Looked up once: a branch that moves meanwhile does not split a run. */
  modelFolder(key: ModelKey): Promise<string> {
    let folder = this.#modelFolders.get(key);
    if (folder === undefined) {
      const { source, dtype } = this.modelRecipe(key);
      folder = resolveSource(resolvePath(source, this.folder), {
        choose: choosePaths(dtype),
        signal: this.options.signal,
      });
      this.#modelFolders.set(key, folder);
    }
    return folder;
  }

  /** What the model's files say, its graphs hashed; read once. */
  inspectModel(key: ModelKey): Promise<ModelInspection> {
    let inspection = this.#inspections.get(key);
    if (inspection === undefined) {
      const { dtype } = this.modelRecipe(key);
      inspection = this.modelFolder(key).then((dir) => inspectModel(dir, { dtype: dtype ?? undefined }));
      this.#inspections.set(key, inspection);
    }
    return inspection;
  }

  /** The model, tapped at all layers of the recipe; kept until `closeModels` or until the other one is opened. */
  async openModel(key: ModelKey): Promise<ResidualModel> {
    let model = this.#models.get(key);
    if (model === undefined) {
      await this.closeModels(); // one at a time: they may be large
      model = this.#openModel(key);
      this.#models.set(key, model);
    }
    return model;
  }

  async #openModel(key: ModelKey): Promise<ResidualModel> {
    const { device, dtype, threads, dIn, source } = this.modelRecipe(key);
    const { openResidualModel } = await import("../models/open-model.ts");
    const model = await openResidualModel(await this.modelFolder(key), {
      layers: [...this.recipe.layers].sort((a, b) => a - b),
      device,
      dtype: dtype ?? undefined,
      threads: threads ?? undefined, // not the run's: they may change last bits
    });
    const { info } = model;
    const longest = info.contextSize ?? Number.POSITIVE_INFINITY;
    if ((dIn === null || dIn === info.dIn) && this.recipe.contextSize <= longest) return model;
    await model.close();
    if (this.recipe.contextSize > longest)
      throw new RecipeError(
        `windows of ${this.recipe.contextSize} tokens are longer than ${source} was made for: ${longest}`,
        "give the recipe a smaller contextSize",
      );
    throw new RecipeError(
      `the residual stream of ${source} is ${info.dIn} wide, the recipe says dIn: ${dIn}`,
      "leave dIn out: it is read from the model",
    );
  }

  /** Local folder or file of the SAE a layer starts from, with what lies beside it. */
  saeFolder(layer: number): Promise<string> {
    let folder = this.#saeFolders.get(layer);
    if (folder === undefined) {
      if (!("from" in this.recipe.sae))
        throw new RecipeError("the recipe starts from scratch: there is no source SAE");
      const location = this.recipe.sae.from.replaceAll("{layer}", String(layer));
      folder = localSae(resolvePath(location, this.folder), { signal: this.options.signal });
      this.#saeFolders.set(layer, folder);
    }
    return folder;
  }

  /** The source SAE of a layer, its hook point checked against the layer. @throws {RecipeError} it was made for another */
  async sourceSae(layer: number): Promise<Sae> {
    const sae = await loadSae(await this.saeFolder(layer));
    refuseOtherHook(sae, layer);
    return sae;
  }

  /** The same with its weights left in their file; the caller closes its rows. */
  async openSourceSae(layer: number): Promise<OpenSae> {
    const sae = await openSae(await this.saeFolder(layer));
    try {
      refuseOtherHook(sae, layer);
      return sae;
    } catch (error) {
      await sae.rows.close();
      throw error;
    }
  }

  /** The same without its weights. */
  async sourceSaeFacts(layer: number): Promise<SaeFacts> {
    const facts = await loadSaeFacts(await this.saeFolder(layer));
    refuseOtherHook(facts, layer);
    return facts;
  }

  /** What tells a layer's source SAE apart: the identities of its files. */
  async saeIdentity(layer: number): Promise<Record<string, string>> {
    const files = await filesOfSae(await this.saeFolder(layer));
    const entries = await Promise.all(
      [...files].map(async ([name, path]) => [name, await identityOrAbsent(path)]),
    );
    return Object.fromEntries(entries) as Record<string, string>;
  }

  async closeModels(): Promise<void> {
    const open = [...this.#models.values()];
    this.#models.clear();
    for (const model of open)
      await model.then(
        (opened) => opened.close(),
        () => {}, // it could not be opened: whoever asked for it has been told
      );
  }
}

function refuseOtherHook({ config: { hookName } }: SaeFacts, layer: number): void {
  if (hookName === null || sameHook(hookName, canonicalHookName(layer))) return;
  throw new RecipeError(
    `the SAE for layer ${layer} says its hook point is ${hookName}`,
    "check sae.from and layers in the recipe",
  );
}
