/** Memory of a spliced model: its weights, the streams of a batch, and the logits of a few tokens. */
import { type MemoryPlan, planOf } from "../kernels/memory.ts";
import type { TensorSpec } from "./session-messages.ts";
import type { SpliceWork, UnembeddingPlan } from "./spliced-model.ts";
import type { ModelPieces } from "./spliced-pieces.ts";

/** Logits and what is computed from them, per entry: clean and other run's f32, clean probabilities f64, three more f32 inside the graph. */
const BYTES_PER_LOGIT = 4 + 4 + 8 + 3 * 4;
const DEFAULT_LOGITS_BYTES = 256 * 1024 * 1024;
/** Taken where neither the graph nor the configuration tells the vocabulary: the largest in use. */
const LARGEST_VOCABULARY = 262_144;
/** What ONNX Runtime holds between the operators of a piece, in streams, attention not counted; measured on tiny-gemma. */
const WORKING_STREAMS = 64;
/** Scores of attention that it holds at a time, and the head size that their number is guessed from. */
const WORKING_SCORES = 3;
const HEAD_SIZE = 64;
/** The library itself, and its thread. */
const RUNTIME_BYTES = 64 * 1024 * 1024;

/** How many tokens' logits fit into `maxLogitsBytes`; two at least. */
export function planLogits(
  pieces: Pick<ModelPieces, "rowwise" | "problem">,
  vocabSize: number | null,
  maxLogitsBytes: number = DEFAULT_LOGITS_BYTES,
): UnembeddingPlan {
  const perToken = BYTES_PER_LOGIT * (vocabSize ?? LARGEST_VOCABULARY);
  const tokens = Math.max(2, Math.floor(maxLogitsBytes / perToken));
  return pieces.rowwise === null
    ? {
        vocabSize,
        chunkTokens: null,
        maxBatchTokens: tokens,
        problem: `logits are computed of whole windows at a time: ${pieces.problem}`,
      }
    : { vocabSize, chunkTokens: tokens, maxBatchTokens: null, problem: null };
}

/** What a batch takes beside the weights. */
export interface SpliceSizes extends SpliceWork {
  readonly dIn: number;
  /** numbers a token that stay in the sessions' thread of the clean run, and of each intervention */
  readonly keptClean: number;
  readonly keptPerRun: number;
  readonly logits: UnembeddingPlan;
}

/**
 * Bytes, an estimate: weights as they are stored and once more as ONNX Runtime lays them out (tied ones in each piece that
 * uses them), an unembedding of int8 weights in f32 too; each piece's memory between operators, which is kept for the next
 * batch; streams in f32. On tiny-gemma, with batches of 2048 tokens, a process grew by a fifth more than it says.
 */
export function spliceMemory(
  pieces: Pick<ModelPieces, "layers" | "body" | "final" | "rowwise">,
  { dIn, batchTokens, contextSize, nRuns, keptClean, keptPerRun, logits }: SpliceSizes,
): MemoryPlan {
  const scored = Math.min(logits.chunkTokens ?? batchTokens, batchTokens);
  const perLogits = BYTES_PER_LOGIT * (logits.vocabSize ?? LARGEST_VOCABULARY);
  const stored = [...pieces.body, pieces.final].reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  const unembedding = pieces.rowwise === null ? 0 : pieces.final.dequantizedBytes;
  const heads = Math.ceil(dIn / HEAD_SIZE);
  const perPiece = WORKING_STREAMS * dIn + WORKING_SCORES * heads * contextSize;
  return planOf([
    { name: "ONNX Runtime", bytes: RUNTIME_BYTES },
    { name: "model", bytes: 2 * stored + unembedding },
    { name: "kept streams", bytes: 4 * batchTokens * (keptClean + nRuns * keptPerRun) },
    { name: "streams handed over", bytes: 4 * batchTokens * dIn * (pieces.layers.length + 3) },
    { name: "layers at work", bytes: 4 * batchTokens * perPiece * pieces.body.length },
    { name: "logits", bytes: scored * perLogits },
  ]);
}

/** Numbers a token in tensors of these declared shapes: sizes that are not fixed are the batch's and the window's. */
export function numbersPerToken(specs: readonly TensorSpec[]): number {
  const size = ({ shape }: TensorSpec) =>
    shape.reduce<number>((product, dim) => (typeof dim === "number" && dim > 0 ? product * dim : product), 1);
  return specs.reduce((sum, spec) => sum + size(spec), 0);
}
