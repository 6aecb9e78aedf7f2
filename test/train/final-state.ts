/** Everything reproducible that a training folder holds, for comparing two runs. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { bytesOf } from "../../src/tensor/typed-array.ts";
import { readFinishedTraining } from "../../src/train/final-checkpoint.ts";

/** The 12 tensors and the counters as hexadecimal bytes, the outcome without times and paths, and both logs as text. */
export async function finalState(dir: string) {
  const finished = (await readFinishedTraining(dir))!;
  const { seconds: _, finalCheckpointDir, ...outcome } = finished.outcome;
  const tensors: Record<string, string> = {};
  for (const name of ["weights", "moments", "counters"]) {
    const file = await openSafetensors(join(finalCheckpointDir, `${name}.safetensors`));
    for (const tensor of file.tensors.keys()) {
      tensors[tensor] = Buffer.from(bytesOf(await file.read(tensor))).toString("hex");
    }
    await file.close();
  }
  return {
    outcome,
    tensors,
    metrics: await readFile(join(dir, "metrics.jsonl"), "utf8"),
    events: await readFile(join(dir, "events.jsonl"), "utf8"),
  };
}
