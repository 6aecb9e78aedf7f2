/** What is to be shown: runs and their indexes, and indexes by themselves, each under a name of its own. */
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { EXPLANATIONS_FILE } from "../../dashboard/explanations.ts";
import { INDEX_MANIFEST, readIndexManifest } from "../../dashboard/index-manifest.ts";
import type { IndexManifest } from "../../dashboard/manifest.ts";
import type { SiteIndex } from "../../dashboard/site.ts";
import { StateError } from "../../errors.ts";
import type { Sae } from "../../sae/sae.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import type { RunContext, RunOptions } from "../context.ts";
import { type IndexPhase, loadIndexedSae } from "../indexing/indexed-sae.ts";
import { openRunAt } from "../open-run.ts";
import { finishedLayers } from "../stages/finished.ts";

/** A folder that was named. */
export interface Served {
  /** unique among those named */
  readonly name: string;
  readonly dir: string;
  /** null: the folder is an index */
  readonly run: RunContext | null;
}

export interface ServedIndex {
  readonly entry: SiteIndex;
  readonly dir: string;
  readonly manifest: IndexManifest;
  /** null: an index by itself, whose SAE may be anywhere */
  readonly of: { readonly run: RunContext; readonly layer: number; load(): Promise<Sae> } | null;
}

const MAX_SERVED = 32;

/** @throws {StateError} a folder is neither a run nor an index, or there are too many */
export async function openServed(paths: readonly string[], options: RunOptions): Promise<Served[]> {
  if (paths.length > MAX_SERVED)
    throw new StateError(`${paths.length} folders, at most ${MAX_SERVED} are shown together`);
  const served: Served[] = [];
  for (const path of paths) {
    const dir = resolve(path);
    const run = await openRunAt(dir, options);
    if (run === null && (await stat(join(dir, INDEX_MANIFEST)).catch(() => null)) === null)
      throw new StateError(
        `${path} is neither a run nor a latent index: it holds no run.json and no ${INDEX_MANIFEST}`,
        "name the folder of a run, e.g. runs/tiny-gemma",
      );
    const taken = served.map(({ name }) => name);
    served.push({ name: unused(basename(dir), taken), dir, run });
  }
  return served;
}

const PHASES = ["after", "before"] as const;

/** The indexes that there are. @throws {FormatError} one is damaged */
export async function indexesOf(all: readonly Served[]): Promise<ServedIndex[]> {
  const found: ServedIndex[] = [];
  for (const { name, dir, run } of all) {
    const idOf = (text: string) =>
      unused(
        slug(text),
        found.map(({ entry }) => entry.id),
      );
    if (run === null) {
      const id = idOf(name);
      const none = { layer: null, phase: null, base: null } as const;
      found.push({
        entry: { id, path: id, title: name, run: name, ...none, explanations: await hasExplanations(dir) },
        dir,
        manifest: await readIndexManifest(dir),
        of: null,
      });
      continue;
    }
    for (const layer of finishedLayers(run)) {
      const present = [];
      for (const phase of PHASES) {
        const folder = run.dir.index(layer, phase);
        if ((await statIfPresent(join(folder, INDEX_MANIFEST))) === null) continue;
        const id = idOf(
          `${all.length > 1 ? `${name}-` : ""}layer-${layer}${phase === "before" ? "-before" : ""}`,
        );
        present.push({ phase, folder, id, manifest: await readIndexManifest(folder) });
      }
      const before = present.find(({ phase }) => phase === "before");
      for (const { phase, folder, id, manifest } of present) {
        const isBase =
          phase === "after" &&
          before?.manifest.sae.hash === manifest.base?.hash &&
          before?.manifest.data.hash === manifest.data.hash;
        found.push({
          entry: {
            id,
            path: id,
            title: `${all.length > 1 ? `${name}: ` : ""}layer ${layer}, ${titleOf(run, phase)}`,
            run: name,
            layer,
            phase,
            base: isBase && before !== undefined ? before.id : null,
            explanations: await hasExplanations(folder),
          },
          dir: folder,
          manifest,
          of: { run, layer, load: () => loadIndexedSae(run, layer, phase, manifest.sae.hash) },
        });
      }
    }
  }
  return found;
}

async function hasExplanations(dir: string): Promise<boolean> {
  return (await statIfPresent(join(dir, EXPLANATIONS_FILE))) !== null;
}

function titleOf({ recipe }: RunContext, phase: IndexPhase): string {
  if (phase === "before") return "source";
  return "from" in recipe.sae ? "adapted" : "trained";
}

/** A name that can stand in an address. */
function slug(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9_-]+/g, "-");
}

function unused(name: string, taken: readonly string[]): string {
  let candidate = name;
  for (let n = 2; taken.includes(candidate); n++) candidate = `${name}-${n}`;
  return candidate;
}
