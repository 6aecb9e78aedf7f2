import { expect, it } from "vitest";
import { spawnWorker } from "./worker-thread.ts";

it("runs a TypeScript module of ours in a worker, its imports included", async () => {
  const source = `import { parentPort } from "node:worker_threads"; import { bytesPerElement } from "${new URL("./tensor/dtype.ts", import.meta.url).href}"; parentPort!.postMessage(bytesPerElement("F32") satisfies number);`;
  const { writeFile, mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const { pathToFileURL } = await import("node:url");
  const dir = await mkdtemp(join(tmpdir(), "lapidary-worker-"));
  await writeFile(join(dir, "w.mts"), source);
  const worker = spawnWorker(pathToFileURL(join(dir, "w.mts")));
  const answer = await new Promise((resolve, reject) =>
    worker.once("message", resolve).once("error", reject),
  );
  expect(answer).toBe(4);
  await worker.terminate();
  await rm(dir, { recursive: true });
});
