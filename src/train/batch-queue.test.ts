/** Batches in order, one read ahead, in two arrays that take turns. */
import { expect, it } from "vitest";
import type { BatchReader } from "../activations/activations.ts";
import { BatchQueue } from "./batch-queue.ts";

/** Batch i of epoch e holds [e, i], twice; three batches an epoch. */
function reader(): BatchReader & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    batchTokens: 2,
    nBatches: 3,
    async batch(epoch, i, into = new Float32Array(4)) {
      asked.push(`${epoch}/${i}`);
      into.set([epoch, i, epoch, i]);
      return into;
    },
  };
}

it("hands out every batch whole and in order, reading one ahead, in two arrays", async () => {
  const source = reader();
  const queue = new BatchQueue(source, 6);
  const arrays = new Set<Float32Array>();
  for (let step = 0; step < 6; step++) {
    const batch = await queue.at(step);
    await Promise.resolve(); // the next one may be read by now
    expect([...batch]).toEqual([Math.floor(step / 3), step % 3, Math.floor(step / 3), step % 3]);
    arrays.add(batch);
  }
  expect(source.asked).toEqual(["0/0", "0/1", "0/2", "1/0", "1/1", "1/2"]);
  expect(arrays.size).toBe(2);
});

it("goes back when asked, and never writes over what the caller holds", async () => {
  const queue = new BatchQueue(reader(), 6);
  await queue.at(3);
  const again = await queue.at(1);
  await queue.close();
  expect([...again]).toEqual([0, 1, 0, 1]);
  expect([...(await queue.at(2))]).toEqual([0, 2, 0, 2]);
});
