/**
 * The last unit of a layer: `contract.json` beside an SAE that has been verified. A function of what the run recorded and
 * of what lies in the SAE's folder, so it is the same for the same run, and made anew when any of it changes.
 */
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { StoreManifest } from "../../activations/activations.ts";
import { parseSource } from "../../hub/source.ts";
import {
  CONTRACT,
  type Contract,
  contractedCfg,
  contractText,
  describeTransform,
  GOLDEN,
} from "../../publish/contract.ts";
import { GOLDEN_MEANING, TOLERANCE } from "../../publish/golden.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { sweepTemporary, writeFileAtomically } from "../../storage/atomic.ts";
import { hashFile } from "../../storage/hash.ts";
import { readJson } from "../../storage/json.ts";
import type { RunContext } from "../context.ts";
import { publicName } from "../recipe/file.ts";
import { setNames } from "./corpus.ts";
import { readLayerEvals } from "./evaluate.ts";
import type { GoldenRow } from "./golden.ts";
import { isLayerPolished } from "./polish-choice.ts";
import { openSetStore, openSetWindows, storeHash } from "./recorded.ts";
import type { Unit } from "./unit.ts";

export function contractUnit(context: RunContext, layer: number): Unit {
  const folder = () => context.dir.sae(exported(context, layer).id);
  const path = () => join(folder(), CONTRACT);
  return {
    id: `contract:${layer}`,
    stage: "verify",
    layer,
    title: `contract of layer ${layer}`,
    isDerived: true,
    // an export of an earlier version has no golden vector
    isWanted: async () => exported(context, layer).golden !== undefined,
    inputs: async () => ({
      export: exported(context, layer).files,
      results: context.state.output(
        isLayerPolished(context, layer) ? `polish-after:${layer}` : `after:${layer}`,
      ).results,
      stores: setNames(context).map((set) => storeHash(context, "model", set, layer)),
      model: publicName(context.recipe.model.source),
      version: 1,
    }),
    files: () => [path()],
    clear: () => rm(path(), { force: true }),
    async run() {
      await sweepTemporary(folder());
      await writeFileAtomically(path(), contractText(await contractOf(context, layer)));
      return { contract: await hashFile(path()) };
    },
  };
}

/** What the export that lies on disk recorded. @throws {StateError} there is none yet */
function exported(
  context: RunContext,
  layer: number,
): { id: string; files: Readonly<Record<string, string>>; golden?: readonly GoldenRow[] } {
  const unit = isLayerPolished(context, layer) ? `polish-export:${layer}` : `export:${layer}`;
  return context.state.output(unit) as unknown as ReturnType<typeof exported>;
}

async function contractOf(context: RunContext, layer: number): Promise<Contract> {
  const { id, files, golden = [] } = exported(context, layer);
  const folder = context.dir.sae(id);
  const manifest = await trainingManifest(context, layer);
  const cfg = contractedCfg(await readJson<Record<string, unknown>>(join(folder, "cfg.json")));
  const described = Object.entries(files).map(
    async ([name, sha256]) => [name, { bytes: (await stat(join(folder, name))).size, sha256 }] as const,
  );
  return {
    format: "lapidary-contract",
    version: 1,
    hookPoint: {
      name: canonicalHookName(layer),
      layer,
      dIn: manifest.dIn,
      semantics: `The residual stream after decoder layer ${layer} (layers count from 0): the layer's output, with the skip connection added, before the norm that comes next.`,
    },
    model: describeModel(context, manifest),
    activationDtype: manifest.dtype,
    inputTransform: describeTransform(cfg),
    cfg,
    tokens: await describeTokens(context),
    results: await resultsOf(context, layer),
    golden: { file: GOLDEN, inputs: [...golden], tolerance: TOLERANCE, meaning: GOLDEN_MEANING },
    files: Object.fromEntries(await Promise.all(described)),
  };
}

async function trainingManifest(context: RunContext, layer: number): Promise<StoreManifest> {
  const store = await openSetStore(context, "model", "train", layer);
  await store.close();
  return store.manifest;
}

/** The model as the harvest recorded it; activations made elsewhere come with its name alone. */
function describeModel(context: RunContext, { provenance }: StoreManifest): Contract["model"] {
  const { source } = context.recipe.model;
  const parsed = parseSource(source);
  const told = (key: string) => (typeof provenance[key] === "string" ? provenance[key] : null);
  const files = Array.isArray(provenance.model) ? (provenance.model as Contract["model"]["files"]) : [];
  return {
    id: publicName(source).replace(/@.*$/, ""),
    revision: parsed.kind === "hub" ? (parsed.revision ?? null) : null,
    device: told("device"),
    runtime: told("runtime"),
    files: files.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
  };
}

/** What the run's windows say of tokens; null where activations were imported. */
async function describeTokens(context: RunContext): Promise<Contract["tokens"]> {
  const { activations, contextSize, corpus } = context.recipe;
  if (activations.import !== null) return null;
  const sets = await Promise.all(setNames(context).map((set) => openSetWindows(context, set)));
  const [{ bosTokenId, excludedTokenIds, tokenizerHash }] = sets.map(({ manifest }) => manifest);
  return {
    contextSize,
    packing: corpus.packing,
    prependBos: corpus.prependBos,
    bosTokenId,
    excludedTokenIds: [...excludedTokenIds],
    tokenizerHash,
    chatTemplateHash:
      sets.map(({ manifest }) => manifest.chatTemplateHash).find((hash) => hash !== null) ?? null,
  };
}

async function resultsOf(context: RunContext, layer: number): Promise<Contract["results"]> {
  const { results } = await readLayerEvals(context.dir.evals(layer, "after"));
  return results.map(({ set, isDomain, result: { nTokens, nDocuments, intervals, metrics } }) => ({
    set,
    isDomain,
    nTokens,
    nDocuments,
    intervals,
    metrics: Object.fromEntries(
      Object.entries(metrics).map(([name, { value, interval, n, unit, definition }]) => [
        name,
        { value, interval, n, unit, definition },
      ]),
    ),
  }));
}
