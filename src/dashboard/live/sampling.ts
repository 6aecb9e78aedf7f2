/** The next token from logits: the largest, or drawn with a seed. */
import { ModelError } from "../../errors.ts";
import type { Philox } from "../../random/philox.ts";
import type { SteerRequest } from "../live.ts";

/**
 * Temperature 0: the largest logit, of equal ones the lowest id. Else drawn from softmax(logits / temperature) over the
 * `topK` largest (equal ones: lowest ids first): the first token, in that order, at which the probabilities' sum passes
 * uniform `step` of the stream. Sums in f64.
 * @throws {ModelError} a logit is NaN or +∞
 */
export function nextToken(
  logits: Float32Array,
  { temperature, topK }: SteerRequest["sampling"],
  random: Philox,
  step: number,
): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id]) || logits[id] === Number.POSITIVE_INFINITY)
      throw new ModelError(`the model's logits are not finite (token ${id})`);
    if (logits[id] > logits[best]) best = id;
  }
  if (temperature === 0 || logits[best] === Number.NEGATIVE_INFINITY) return best;
  const ids = Uint32Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const candidates = ids.subarray(0, topK ?? ids.length);
  const weights = Float64Array.from(candidates, (id) => Math.exp((logits[id] - logits[best]) / temperature));
  const target = random.uniform(step) * weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i];
    if (target < sum) return candidates[i];
  }
  return candidates[weights.findLastIndex((weight) => weight > 0)];
}
