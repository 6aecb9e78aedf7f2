/** Memory of a spliced model: its weights, the streams of a batch, and the logits of a few tokens. */
import { type MemoryPlan, planOf } from "../kernels/memory.ts";
import type { TensorSpec } from "./session-messages.ts";
import type { UnembeddingPlan } from "./spliced-model.ts";
import type { ModelPieces } from "./spliced-pieces.ts";

/** Logits and what is computed from them, per entry: clean and other run's f32, clean probabilities f64, one more f32 inside the graph. */
const BYTES_PER_LOGIT = 4 + 4 + 8 + 4;
const DEFAULT_LOGITS_BYTES = 256 * 1024 * 1024;
/** Taken where neither the graph nor the configuration tells the vocabulary: the largest in use. */
const LARGEST_VOCABULARY = 262_144;
/** What ONNX Runtime holds between the operators of a layer, in streams: an estimate. */
const WORKING_STREAMS = 24;

/** How many tokens' logits fit into `maxLogitsBytes`; two at least. */
export function planLogits(
  pieces: Pick<ModelPieces, "rowwise" | "problem">,
  vocabSize: number | null,
  maxLogitsBytes: number = DEFAULT_LOGITS_BYTES,
): UnembeddingPlan {
  const perToken = BYTES_PER_LOGIT * (vocabSize ?? LARGEST_VOCABULARY);
  const tokens = Math.max(2, Math.floor(maxLogitsBytes / perToken));
  return pieces.rowwise === null
    ? { vocabSize, chunkTokens: null, maxBatchTokens: tokens, problem: pieces.problem }
    : { vocabSize, chunkTokens: tokens, maxBatchTokens: null, problem: null };
}

/** What a batch takes beside the weights. */
export interface SpliceSizes {
  readonly dIn: number;
  readonly batchTokens: number;
  /** interventions compared at once with the clean run */
  readonly nRuns: number;
  /** numbers a token that stay in the sessions' thread of the clean run, and of each intervention */
  readonly keptClean: number;
  readonly keptPerRun: number;
  readonly logits: UnembeddingPlan;
}

/**
 * Bytes, an estimate: weights as they are stored (tied ones in each piece that uses them; half-precision weights that the
 * graph computes with in float32 take twice that), an unembedding of int8 weights in f32 too, streams in f32.
 */
export function spliceMemory(
  pieces: Pick<ModelPieces, "layers" | "body" | "final" | "rowwise">,
  { dIn, batchTokens, nRuns, keptClean, keptPerRun, logits }: SpliceSizes,
): MemoryPlan {
  const scored = logits.chunkTokens ?? batchTokens;
  const perLogits = BYTES_PER_LOGIT * (logits.vocabSize ?? LARGEST_VOCABULARY);
  return planOf([
    {
      name: "model",
      bytes: [...pieces.body, pieces.final].reduce(
        (sum, { weightBytes }) => sum + weightBytes,
        pieces.rowwise === null ? 0 : pieces.final.dequantizedBytes,
      ),
    },
    { name: "kept streams", bytes: 4 * batchTokens * (keptClean + nRuns * keptPerRun) },
    {
      name: "streams at work",
      bytes: 4 * batchTokens * dIn * (pieces.layers.length + 3 + WORKING_STREAMS),
    },
    { name: "logits", bytes: Math.min(scored, batchTokens) * perLogits },
  ]);
}

/** Numbers a token in tensors of these declared shapes: sizes that are not fixed are the batch's and the window's. */
export function numbersPerToken(specs: readonly TensorSpec[]): number {
  const size = ({ shape }: TensorSpec) =>
    shape.reduce<number>((product, dim) => (typeof dim === "number" && dim > 0 ? product * dim : product), 1);
  return specs.reduce((sum, spec) => sum + size(spec), 0);
}
