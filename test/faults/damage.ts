/** What was written last, damaged while nobody worked on it: cut short, or with one bit turned round. */
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { hashFile } from "../../src/storage/hash.ts";
import type { Draw, FaultKind } from "./kinds.ts";
import { BETWEEN } from "./stage-clock.ts";
import type { Trial } from "./trial.ts";
import type { StageFacts } from "./workbench.ts";

/** Files that later stages read, and nobody else: once those are done, damage to them changes nothing. */
const INTERMEDIATE = /^(corpus|activations|train\/[^/]+\/step-\d+)\//;

export function damageKinds(): FaultKind[] {
  const of = (name: string, damage: (bytes: Buffer, draw: Draw) => Buffer): FaultKind => ({
    name,
    missing: null,
    canBefall: (stage) => stage.name !== BETWEEN,
    make: (stage, draw) => damagedFile(name, stage, draw, damage),
  });
  return [
    of("cut short", (bytes, draw) => bytes.subarray(0, Math.floor(draw() * bytes.length))),
    of("bit flip", (bytes, draw) => {
      const bit = Math.floor(draw() * bytes.length * 8);
      bytes[bit >> 3] ^= 1 << (bit & 7);
      return bytes;
    }),
  ];
}

function damagedFile(
  kind: string,
  stage: StageFacts,
  draw: Draw,
  damage: (bytes: Buffer, draw: Draw) => Buffer,
): Trial {
  const [chosen, where] = [draw(), draw()];
  let file = "";
  let whole: Buffer = Buffer.alloc(0);
  let damaged: Buffer = whole;
  return {
    kind,
    stage,
    isAfter: true,
    destroys: "until undone",
    named: () => [basename(file)],
    async prepare(run) {
      const files = await lastWritten(stage);
      file = files[Math.floor(chosen * files.length)];
      whole = await readFile(join(run, file));
      if (whole.length === 0) return null;
      damaged = damage(Buffer.from(whole), () => where);
      await rename(join(run, file), aside(run));
      await writeFile(join(run, file), damaged);
      return `${file} (${whole.length} → ${damaged.length} bytes)`;
    },
    async undo(run, outcome) {
      const isLeft = (await readFile(join(run, file)).catch(() => whole)).equals(damaged);
      if (isLeft && (outcome !== "came through" || INTERMEDIATE.test(file)))
        await rename(aside(run), join(run, file));
      await rm(aside(run), { force: true });
    },
  };
}

/** Where the whole file waits: put back, it is the same file as before. */
const aside = (run: string) => `${run}.aside`;

/** Files that the stage made or changed. */
export async function lastWritten({ before, after }: StageFacts): Promise<string[]> {
  const files: string[] = [];
  for (const file of ((await readdir(after, { recursive: true })) as string[]).sort()) {
    if (!(await stat(join(after, file))).isFile()) continue;
    const earlier = before === null ? null : await hashFile(join(before, file)).catch(() => null);
    if (earlier !== (await hashFile(join(after, file)))) files.push(file);
  }
  return files;
}
