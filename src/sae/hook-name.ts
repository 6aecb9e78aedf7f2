/**
 * Which activation of which layer an SAE reads. Publishers spell the same place differently: TransformerLens names a
 * hook (`blocks.4.hook_resid_post`), Hugging Face a module (`model.layers.4`). Layers count decoder layers from 0.
 */
import { UnsupportedError } from "../errors.ts";

/** A place in the model. `resid_post` is the output of the layer; of the others only `resid_pre` is ever the same place. */
export interface HookPoint {
  readonly layer: number;
  /** TransformerLens' words: "resid_post", "resid_pre", "resid_mid", "mlp_out", "attn_out", "attn.hook_z", … */
  readonly site: string;
}

const EXAMPLES =
  "examples: blocks.4.hook_resid_post, model.layers.4, model.language_model.layers.4, layers.4, 4";

/** Longest text considered; real names have some 30 characters. */
const MAX_LENGTH = 200;

const TRANSFORMER_LENS = /^blocks\.(\d{1,5})\.(?:(.+)\.)?hook_([a-z0-9_]+)$/;
const MODULE_OF_LAYERS = /^(?:[a-z_]+\.)*?(?:layers|h|blocks)\.(\d{1,5})$/i;
const SUBMODULE = /^(?:[a-z_]+\.)*?(?:layers|h)\.(\d{1,5})\.([a-z_][a-z0-9_.]*)$/i;
const NUMBER = /^\d{1,5}$/;

/**
 * Reads a hook name, a module path of a decoder layer (its output), or a bare layer number (its output).
 * @throws {UnsupportedError} the text is none of these
 */
export function parseHookName(text: string): HookPoint {
  const name = text.trim();
  if (name.length <= MAX_LENGTH) {
    if (NUMBER.test(name)) return { layer: Number(name), site: "resid_post" };
    const hook = TRANSFORMER_LENS.exec(name);
    if (hook) return { layer: Number(hook[1]), site: hook[2] ? `${hook[2]}.hook_${hook[3]}` : hook[3] };
    const module = MODULE_OF_LAYERS.exec(name);
    if (module) return { layer: Number(module[1]), site: "resid_post" };
    const inner = SUBMODULE.exec(name);
    if (inner) return { layer: Number(inner[1]), site: inner[2] };
  }
  throw new UnsupportedError(`cannot tell which layer "${text.slice(0, MAX_LENGTH)}" names`, EXAMPLES);
}

/** The spelling Lapidary writes: `blocks.<layer>.hook_resid_post`, the output of decoder layer `layer`. */
export function canonicalHookName(layer: number): string {
  return `blocks.${layer}.hook_resid_post`;
}

/** Whether two names mean the same activation. What enters layer 5 is what left layer 4. */
export function sameHook(a: string, b: string): boolean {
  const one = outputOf(parseHookName(a));
  const other = outputOf(parseHookName(b));
  return one.layer === other.layer && one.site === other.site;
}

/** The same of any text; null: one of them names no layer, so it cannot be told. */
export function sameHookIfKnown(a: string, b: string): boolean | null {
  if (a === b) return true;
  try {
    return sameHook(a, b);
  } catch (error) {
    if (error instanceof UnsupportedError) return null;
    throw error;
  }
}

/** The decoder layer whose output `hook` is; null if it is not a layer's output (the embeddings before layer 0, an MLP, …). */
export function residualLayer(hook: HookPoint): number | null {
  const { layer, site } = outputOf(hook);
  return site === "resid_post" ? layer : null;
}

function outputOf({ layer, site }: HookPoint): HookPoint {
  return site === "resid_pre" && layer > 0 ? { layer: layer - 1, site: "resid_post" } : { layer, site };
}
