/** Where everything of a run lies. One run directory holds everything that came of a recipe; this is its only map. */
import { join } from "node:path";
import { canonicalHookName } from "../sae/hook-name.ts";

/** Which model an activation came from. */
export type ModelKey = "model" | "base";
/** When an evaluation was made. `prepolish` keeps what a polished layer scored before its polish. */
export type Phase = "before" | "after" | "prepolish";

export class RunDirectory {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Folders in which files are replaced one by one; the others are swept by whoever writes them. */
  get written(): readonly string[] {
    return [this.root, this.repository, join(this.root, "evals")];
  }

  get recipe(): string {
    return join(this.root, "recipe.yaml");
  }
  get state(): string {
    return join(this.root, "run.json");
  }
  get lock(): string {
    return join(this.root, "run.lock");
  }
  get card(): string {
    return join(this.root, "README.md");
  }
  get report(): string {
    return join(this.root, "report", "index.html");
  }
  /** What was published where, and that it is what was measured. */
  get publication(): string {
    return join(this.root, "verification.json");
  }
  /** The repository to publish: a card and one SAELens directory a layer. */
  get repository(): string {
    return join(this.root, "sae");
  }
  corpus(set: string): string {
    return join(this.root, "corpus", set);
  }
  activations(model: ModelKey, set: string, layer: number): string {
    return join(this.root, "activations", model, set, canonicalHookName(layer));
  }
  train(layer: number, polish: boolean): string {
    return join(this.root, "train", `${canonicalHookName(layer)}${polish ? ".polish" : ""}`);
  }
  sae(id: string): string {
    return join(this.repository, id);
  }
  evals(layer: number, phase: Phase): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.${phase}.json`);
  }
  /** Sums of each document's tokens, for paired intervals. */
  documents(layer: number, phase: Phase): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.${phase}.documents.safetensors`);
  }
  /** How often each latent fired, by set. */
  firing(layer: number, phase: Phase): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.${phase}.firing.safetensors`);
  }
  /** Geometry of the SAE before and after, and how far its latents moved; latent by latent in `latentArrays`. */
  latents(layer: number): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.latents.json`);
  }
  latentArrays(layer: number): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.latents.safetensors`);
  }
  /** Cross-entropy and KL with reconstructions spliced in, of all layers. */
  splice(phase: "before" | "after"): string {
    return join(this.root, "evals", `splice.${phase}.json`);
  }
  /** The latent index of a layer's SAE, before training or after. */
  index(layer: number, phase: "before" | "after"): string {
    return join(this.indexes, `${canonicalHookName(layer)}.${phase}`);
  }
  get indexes(): string {
    return join(this.root, "index");
  }
  verification(layer: number): string {
    return join(this.root, "evals", `${canonicalHookName(layer)}.verify.json`);
  }
}
