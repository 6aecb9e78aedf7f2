/** The units of a run in the order they are done: whole layers one after the other, so that the first result comes early. */
import type { RunContext } from "./context.ts";
import { cardUnit } from "./stages/card.ts";
import { contractUnit } from "./stages/contract.ts";
import { corpusUnits } from "./stages/corpus.ts";
import { afterUnit, beforeUnits } from "./stages/evaluate.ts";
import { exportUnit } from "./stages/export.ts";
import { harvestUnits } from "./stages/harvest.ts";
import { importUnits } from "./stages/import.ts";
import { latentsUnit } from "./stages/latents.ts";
import { reportUnit } from "./stages/report.ts";
import { spliceUnit } from "./stages/splice.ts";
import { polishUnit, trainUnit } from "./stages/train.ts";
import type { Unit } from "./stages/unit.ts";
import { verifyUnit } from "./stages/verify.ts";

export function listUnits(context: RunContext, layers: readonly number[]): Unit[] {
  const perLayer = layers.flatMap((layer) => [
    trainUnit(context, layer),
    exportUnit(context, layer, false),
    afterUnit(context, layer, false),
    polishUnit(context, layer),
    exportUnit(context, layer, true),
    afterUnit(context, layer, true),
    latentsUnit(context, layer),
    verifyUnit(context, layer),
    contractUnit(context, layer),
  ]);
  const isImported = context.recipe.activations.import !== null;
  const activations = isImported ? importUnits(context) : [...corpusUnits(context), ...harvestUnits(context)];
  return [
    ...activations,
    ...beforeUnits(context, layers),
    ...spliceUnit(context, "before", layers),
    ...perLayer,
    ...spliceUnit(context, "after", layers),
    cardUnit(context),
    reportUnit(context),
  ];
}
