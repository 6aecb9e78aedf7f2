/**
 * Adam as torch does it, dense: latents without gradient keep moving by momentum. With t the 1-based step,
 *   m ← β₁m + (1−β₁)g      v ← β₂v + (1−β₂)g²      θ ← θ − lr/(1−β₁ᵗ) · m / (√v / √(1−β₂ᵗ) + ε)
 * No weight decay, no amsgrad. Computed in f64, stored in f32.
 */

export interface AdamOptions {
  readonly learningRate: number;
  /** t, 1-based */
  readonly adamStep: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Updates θ, m and v in place with gradient `scale`·g. */
export function adamStep(
  theta: Float32Array,
  m: Float32Array,
  v: Float32Array,
  g: Float32Array,
  scale: number,
  { learningRate, adamStep: t, beta1, beta2, epsilon }: AdamOptions,
): void {
  const stepSize = learningRate / (1 - beta1 ** t);
  const correction2 = Math.sqrt(1 - beta2 ** t);
  for (let j = 0; j < theta.length; j++) {
    const gradient = g[j] * scale;
    m[j] = beta1 * m[j] + (1 - beta1) * gradient;
    v[j] = beta2 * v[j] + (1 - beta2) * gradient * gradient;
    theta[j] -= (stepSize * m[j]) / (Math.sqrt(v[j]) / correction2 + epsilon);
  }
}
