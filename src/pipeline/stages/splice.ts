/**
 * Stage `splice`: what the SAEs do to the model's own predictions when their reconstructions take the residual stream's
 * place, each layer alone and all layers at once. `before` with the source SAEs, `after` with the final ones.
 */
import { rm } from "node:fs/promises";
import type { SpliceResult } from "../../evals/splice/result.ts";
import { evaluateSplice, spliceWindows } from "../../evals/splice/splice.ts";
import { memoryPlan, planOf } from "../../kernels/memory.ts";
import { openSplicedModel } from "../../models/open-spliced.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import { loadSae } from "../../sae/load.ts";
import type { Sae } from "../../sae/sae.ts";
import { writeJson } from "../../storage/atomic.ts";
import { hashFile } from "../../storage/hash.ts";
import type { Progress, RunContext } from "../context.ts";
import { modelFiles } from "../model-identity.ts";
import { announceMemory } from "../resources.ts";
import { exportedId } from "./export.ts";
import { finishedLayers } from "./finished.ts";
import { heldOutPairs } from "./harvest.ts";
import { finalExport } from "./polish-choice.ts";
import { openSetWindows } from "./recorded.ts";
import type { Unit } from "./unit.ts";

/** `evals/splice.<phase>.json` */
export interface RunSplice {
  readonly format: "lapidary-run-splice";
  readonly version: 1;
  readonly phase: SplicePhase;
  /** by set, and in a set by layer, all layers at once last */
  readonly results: readonly SpliceResult[];
}

export type SplicePhase = "before" | "after";

/** Rows that an SAE is given at a time. */
const SAE_ROWS = 2048;
/** Tokens a batch that the memory is planned for, and runs that are compared at once. */
const PLANNED = { batchTokens: 2048, nRuns: 4 };

/** `layers`: those of this invocation; `after` takes those that are finished. */
export function spliceUnit(context: RunContext, phase: SplicePhase, layers: readonly number[]): Unit[] {
  const { recipe, dir } = context;
  const { splice } = recipe.eval;
  const hasNothing = phase === "before" && !("from" in recipe.sae);
  if (splice === null || recipe.activations.import !== null || hasNothing) return [];
  const path = dir.splice(phase);
  const chosen = () => (phase === "before" ? [...layers] : finishedLayers(context)).sort((a, b) => a - b);
  const unit = { id: `splice:${phase}`, title: `splice: predictions with the SAEs ${phase} training` };
  return [
    {
      ...unit,
      stage: "splice",
      layer: null,
      isDerived: true,
      inputs: async () => ({
        tokens: splice.tokens,
        model: modelFiles(await context.inspectModel("model")),
        device: recipe.model.device,
        windows: Object.fromEntries(
          sets(context).map((set) => [set, context.state.output(`corpus:${set}`).manifest]),
        ),
        saes: Object.fromEntries(
          await Promise.all(chosen().map(async (layer) => [layer, await identityOf(context, phase, layer)])),
        ),
      }),
      files: () => [path],
      isIntact: async () => (await hashFile(path)) === context.state.output(unit.id).results,
      isWanted: async () => chosen().length > 0,
      clear: () => rm(path, { force: true }),
      async run(report) {
        const results = await spliceLayers(context, { unit, phase, layers: chosen(), report });
        const content: RunSplice = { format: "lapidary-run-splice", version: 1, phase, results };
        await writeJson(path, content);
        return { results: await hashFile(path) };
      },
    },
  ];
}

function sets(context: RunContext): string[] {
  return heldOutPairs(context, ["model"]).map(({ set }) => set);
}

function identityOf(context: RunContext, phase: SplicePhase, layer: number): Promise<unknown> | unknown {
  return phase === "before" ? context.saeIdentity(layer) : finalExport(context, layer).files;
}

interface Work {
  readonly unit: Pick<Unit, "id" | "title">;
  readonly phase: SplicePhase;
  readonly layers: readonly number[];
  readonly report: (progress: Progress) => void;
}

async function spliceLayers(context: RunContext, work: Work): Promise<SpliceResult[]> {
  const { unit, phase, layers, report } = work;
  const { recipe, options } = context;
  const engine = await context.engine();
  const saes = new Map<number, InferenceSae>();
  const { device, dtype, threads } = context.modelRecipe("model");
  const model = await openSplicedModel(await context.modelFolder("model"), {
    layers,
    device,
    dtype: dtype ?? undefined,
    threads: threads ?? undefined, // not the run's: they may change last bits
  });
  try {
    if (model.unembedding.problem !== null)
      context.emit({ kind: "note", message: model.unembedding.problem });
    const loaded = new Map<number, Sae>();
    for (const layer of layers) {
      const sae =
        phase === "before" ? context.sourceSae(layer) : loadSae(context.dir.sae(exportedId(context, layer)));
      loaded.set(layer, await sae);
    }
    await announceMemory(
      context,
      unit,
      planOf([
        ...model.memory({ ...PLANNED, contextSize: recipe.contextSize }).parts,
        {
          name: "SAEs",
          bytes: [...loaded.values()].reduce((sum, sae) => sum + saeBytes(sae, options.threads), 0),
        },
        { name: "process", bytes: process.memoryUsage.rss() },
      ]),
    );
    for (const [layer, sae] of loaded)
      saes.set(layer, await openInference(sae, engine.create, { threads: options.threads }));
    const results: SpliceResult[] = [];
    for (const set of sets(context)) {
      const windows = spliceWindows(await openSetWindows(context, set));
      const found = await evaluateSplice({
        model,
        windows,
        saes,
        tokens: recipe.eval.splice?.tokens,
        signal: options.signal,
        onProgress: ({ pass, done, total }) =>
          report({
            done,
            total,
            unit: "tokens",
            details: { set, pass: pass === "mean" ? "means" : "splice" },
          }),
      });
      results.push(...found);
    }
    return results;
  } finally {
    for (const sae of saes.values()) await sae.dispose();
    await model.close();
  }
}

/** An SAE's engine; the arrays it was loaded from are counted in the process. */
function saeBytes({ config }: Sae, threads: number | undefined): number {
  const { dIn, dSae, applyBDecToInput, rescaleActsByDecoderNorm } = config;
  return memoryPlan(
    { dIn, dSae, widths: [dSae], applyBDecToInput, rescaleActsByDecoderNorm, training: false, threads },
    { batchTokens: SAE_ROWS },
  ).total;
}
