/** Going back to an earlier checkpoint while a run is under way: tensors and counters as they were, later checkpoints gone. */
import { StateError } from "../errors.ts";
import {
  type Checkpoint,
  checkpointDir,
  listCheckpoints,
  removeCheckpoint,
  verifyCheckpoint,
} from "./checkpoint.ts";
import { readCounters, restoreTensors } from "./checkpoint-tensors.ts";
import type { Session } from "./session.ts";

/** @throws {StateError} the checkpoint of `step` is gone, or damaged */
export async function goBack(
  dir: string,
  step: number,
  { engine, latents }: Pick<Session, "engine" | "latents">,
): Promise<Checkpoint> {
  const all = await listCheckpoints(dir);
  const target = all.find(({ record }) => record.state.step === step);
  if (target === undefined) {
    throw new StateError(`${checkpointDir(dir, step)} is gone; the guard needs it to go back`);
  }
  await verifyCheckpoint(target);
  await restoreTensors(target.dir, engine, "all");
  latents.restore(await readCounters(target.dir));
  for (const later of all.filter(({ record }) => record.state.step > step)) await removeCheckpoint(later);
  return target;
}
