/** Where latents stand on Neuronpedia: model / source / index, a source being a layer of a source set. */
import { RecipeError } from "../../errors.ts";

/** A source's name in its parts: `<layer>-<setName>[__<suffix>]`. */
export interface NeuronpediaPlace {
  /** Neuronpedia's name of the model, lower case */
  readonly modelId: string;
  readonly layer: number;
  readonly setName: string;
  /** null: none */
  readonly suffix: string | null;
}

/** Names that stand in addresses, folders and keys: the API makes them lower case, so they are wanted so. */
const NAME = /^[a-z0-9](?:[a-z0-9.-]|_(?!_)){0,127}$/;

/** `12-my-set`, or with a suffix `12-my-set__l0-100`. @throws {RecipeError} a name that cannot stand in an address */
export function sourceIdOf({ modelId, layer, setName, suffix }: NeuronpediaPlace): string {
  for (const [what, name] of Object.entries({ modelId, setName, suffix: suffix ?? "none" }))
    if (!NAME.test(name))
      throw new RecipeError(
        `Neuronpedia ${what} ${JSON.stringify(name)}: lower-case letters, digits, ".", "-" and single "_" are wanted`,
        `for example ${JSON.stringify(name.toLowerCase().replaceAll(/[^a-z0-9.-]+/g, "-"))}`,
      );
  if (!Number.isInteger(layer) || layer < 0 || layer > 9999)
    throw new RecipeError(`Neuronpedia layer ${layer}: a whole number from 0 is wanted`);
  return `${layer}-${setName}${suffix === null ? "" : `__${suffix}`}`;
}
