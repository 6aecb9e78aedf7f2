/** Stage `card`: writes the model card, in the run and in the repository. */
import { join } from "node:path";
import { StateError } from "../../errors.ts";
import { renderCard } from "../../publish/card/card.ts";
import { removeFiles, writeFileAtomically } from "../../storage/atomic.ts";
import { type CardNotes, readCardNotes } from "../card-notes.ts";
import type { RunContext } from "../context.ts";
import { publishedPaths } from "../publishing/files.ts";
import { type Publication, readPublication } from "../publishing/publication.ts";
import { mapPaths, publicName } from "../recipe/file.ts";
import { cardFacts } from "./card-facts.ts";
import { finishedLayers } from "./finished.ts";
import { isLayerPolished } from "./polish-choice.ts";
import type { Unit } from "./unit.ts";

/** Of cards: changes when the same results would give another text. */
const CARD_VERSION = 2;

export function cardUnit(context: RunContext): Unit {
  const files = [context.dir.card, join(context.dir.repository, "README.md")];
  return {
    id: "card",
    stage: "card",
    layer: null,
    title: "model card",
    isDerived: true,
    inputs: async () => ({
      version: CARD_VERSION,
      layers: finishedLayers(context).map((layer) => [
        layer,
        context.state.units[`verify:${layer}`]?.output ?? null,
        afterOutput(context, layer),
      ]),
      splice: ["before", "after"].map((phase) => context.state.units[`splice:${phase}`]?.output ?? null),
      files: await publishedPaths(context),
      recipe: mapPaths(context.recipe, publicName),
      notes: await readCardNotes(context.dir),
      ...(await publishedInput(context)),
    }),
    files: () => files,
    clear: () => removeFiles(files),
    async run() {
      const publication = await readPublication(context, finishedLayers(context));
      const card = await cardText(context, publication, await readCardNotes(context.dir));
      for (const file of files) await writeFileAtomically(file, card);
      return {};
    },
  };
}

/** The card as it stands; `publication` null: not published, or not as it is now. */
export async function cardText(
  context: RunContext,
  publication: Publication | null,
  notes: CardNotes,
): Promise<string> {
  if (finishedLayers(context).length === 0)
    throw new StateError("no layer has been evaluated yet", "run the stages before the card first");
  return renderCard(await cardFacts(context, publication, notes));
}

async function publishedInput(context: RunContext): Promise<{ published?: Publication }> {
  const published = await readPublication(context, finishedLayers(context));
  return published === null ? {} : { published };
}

function afterOutput(context: RunContext, layer: number): unknown {
  return context.state.output(isLayerPolished(context, layer) ? `polish-after:${layer}` : `after:${layer}`);
}
