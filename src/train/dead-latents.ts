/**
 * Which latents are dead: those that have not fired for more than `deadAfterTokens` tokens. Counted in tokens, so the
 * meaning does not change with the batch size (SAELens counts forward passes).
 */
import { ShapeError } from "../errors.ts";

/** One counter a latent: tokens since it last fired. All start at 0, so nothing is dead at first. */
export class DeadLatents {
  readonly deadAfterTokens: number;
  /** [dSae] tokens since each latent last fired; a whole batch counts as the same moment */
  readonly tokensSinceFired: Float64Array;
  /** [dSae] 1 = dead; kept up to date with the counters */
  readonly mask: Uint8Array;
  #count = 0;

  constructor(dSae: number, deadAfterTokens: number) {
    this.deadAfterTokens = deadAfterTokens;
    this.tokensSinceFired = new Float64Array(dSae);
    this.mask = new Uint8Array(dSae);
  }

  get count(): number {
    return this.#count;
  }

  /** Takes in a batch: `fired` [dSae] says on how many of its `nTokens` tokens each latent fired. */
  observe(fired: Uint32Array, nTokens: number): void {
    const { tokensSinceFired, mask, deadAfterTokens } = this;
    if (fired.length !== mask.length) throw new ShapeError("firing counts", fired.length, mask.length);
    let count = 0;
    for (let i = 0; i < mask.length; i++) {
      const since = fired[i] > 0 ? 0 : tokensSinceFired[i] + nTokens;
      tokensSinceFired[i] = since;
      const dead = since > deadAfterTokens ? 1 : 0;
      mask[i] = dead;
      count += dead;
    }
    this.#count = count;
  }

  /** Starts the counters of `latents` anew: they get another `deadAfterTokens` tokens to fire. */
  restart(latents: Iterable<number>): void {
    for (const i of latents) {
      this.#count -= this.mask[i];
      this.mask[i] = 0;
      this.tokensSinceFired[i] = 0;
    }
  }

  /** Takes over counters saved before. */
  restore(tokensSinceFired: Float64Array): void {
    if (tokensSinceFired.length !== this.mask.length) {
      throw new ShapeError("saved firing counters", tokensSinceFired.length, this.mask.length);
    }
    this.tokensSinceFired.set(tokensSinceFired);
    this.#count = 0;
    for (let i = 0; i < this.mask.length; i++) {
      this.mask[i] = tokensSinceFired[i] > this.deadAfterTokens ? 1 : 0;
      this.#count += this.mask[i];
    }
  }
}
