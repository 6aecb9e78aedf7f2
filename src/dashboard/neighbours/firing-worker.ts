/** A worker thread of `firing-neighbours.ts`: sums up ranges of latents over entries that it shares with the others. */
import { parentPort, workerData } from "node:worker_threads";
import type { Segment } from "../entries/entries.ts";
import type { FromFiringWorker, ToFiringWorker } from "./firing-messages.ts";
import { FiringSums } from "./firing-together.ts";

const segments = workerData as readonly Segment[];
let sums: FiringSums | null = null;
let turn = Promise.resolve();

parentPort!.on("message", (message: ToFiringWorker) => {
  turn = turn.then(async () => {
    if (message.kind === "block") {
      sums = new FiringSums(message.data, 1);
      return;
    }
    const found: FromFiringWorker = [];
    for (let latent = message.from; latent < message.to; latent++)
      found.push(...(await sums!.of(latent, latent + 1, segments)));
    parentPort!.postMessage(found);
  });
});
