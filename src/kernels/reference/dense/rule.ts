/**
 * What tells the dense architectures apart: when a latent fires, and what pulls at it. What they share (encoder, decoder,
 * reconstruction loss, clipping, Adam) stands in `train-step.ts`.
 */
import type { SparseActs, TrainStepOptions } from "../../kernels.ts";
import type { Gradients } from "../gradients.ts";

export interface Rule {
  /** what pre-activations have added: h = c·wEncᵀ + bias, [dSae] */
  readonly bias: Float32Array;
  /** a of latent i, 0 where it does not fire */
  readonly activation: (h: number, i: number) => number;
  /** Gated: relu(g), which reconstructs x a second time while it is trained. Null: there is no such loss. */
  readonly gate: ((h: number, i: number) => number) | null;
  /** Made once a step, when it is known who fires. */
  pullOf(step: Step): Pull;
}

/** A step between its forward and its backward pass. */
export interface Step {
  readonly nTokens: number;
  readonly acts: SparseActs;
  /** n = ‖wDec[i]‖, [dSae] */
  readonly norms: Float32Array;
  /** coefficient of the sparsity loss */
  readonly sparsity: number;
  readonly aux: TrainStepOptions["aux"];
}

/** One latent at all tokens of the batch, on the way back. */
export interface Column {
  readonly i: number;
  /** nᵢ */
  readonly norm: number;
  /** [B] */
  readonly h: Float32Array;
  /** ∂/∂a of the reconstruction loss, ⟨wDec[i], G[b]⟩, [B] */
  readonly da: Float64Array;
  /** the same of relu(g) in the second reconstruction, [B]; zeros without one */
  readonly dGate: Float64Array;
  /** ∂L/∂h, to be filled in, [B] */
  readonly dh: Float64Array;
}

/** What a column adds to the losses beside reconstruction, and ∂L/∂nᵢ. */
export interface Pulled {
  readonly sparsity: number;
  readonly aux: number;
  readonly dNorm: number;
}

/** Fills in `column.dh`, and the latent's entries of the gradients that are one number a latent. */
export type Pull = (column: Column, gradients: Gradients) => Pulled;
