/** Every kind of fault, what it needs of the machine, and how one of it is made. */
import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { damageKinds } from "./damage.ts";
import { type Failure, FILE_FAILURES } from "./failures.ts";
import { BALLAST } from "./faulty-files.ts";
import { limitKinds } from "./limits.ts";
import { chances, type Trial } from "./trial.ts";
import type { StageFacts, Workbench } from "./workbench.ts";

/** A number in [0, 1), another one at each call. */
export type Draw = () => number;

export interface FaultKind {
  readonly name: string;
  /** why it cannot be tried on this machine; null: it can */
  readonly missing: string | null;
  readonly canBefall: (stage: StageFacts) => boolean;
  readonly make: (stage: StageFacts, draw: Draw) => Trial;
}

const LASTING: readonly Failure[] = ["ENOSPC", "EDQUOT", "EROFS"];

export function faultKinds(bench: Workbench): FaultKind[] {
  const failures: Failure[] = ["kill", ...(Object.keys(FILE_FAILURES) as Failure[]), "allocation"];
  return [
    ...failures.map((failure) => operationKind(bench, failure)),
    ...damageKinds(),
    ...limitKinds(bench),
  ];
}

/** One operation, moment or array of a stage. */
function operationKind(bench: Workbench, failure: Failure): FaultKind {
  const isOfDisk = failure === "full-disk" || failure === "read-only-disk";
  const { disk } = bench;
  return {
    name: failure,
    missing: isOfDisk && "missing" in disk ? disk.missing : null,
    canBefall: (stage) => chances(stage, failure) > 0,
    make: (stage, draw) => ({
      kind: failure,
      stage,
      fault: {
        failure,
        stage: stage.name,
        n: Math.floor(draw() * chances(stage, failure)),
        lasting: LASTING.includes(failure) && draw() < 0.5,
      },
      mayDie: failure === "kill" || failure === "power-cut",
      ...(failure === "allocation" ? { named: () => [/memory/] } : {}),
      ...(failure === "vanish"
        ? { named: () => [join(bench.runsFolder, stage.run)], destroys: "always" }
        : {}),
      ...(isOfDisk && "path" in disk ? onDisk(disk.path, failure) : {}),
    }),
  };
}

function onDisk(disk: string, failure: Failure): Partial<Trial> {
  return {
    root: disk,
    named: () => [disk],
    undo:
      failure === "full-disk"
        ? () => rm(join(disk, BALLAST), { force: true })
        : async () => void spawnSync("mount", ["-o", "remount,rw", disk]),
  };
}
