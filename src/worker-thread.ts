/** Starts a worker thread from a module of ours, whether it runs as TypeScript source (tests, development) or compiled. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker, type WorkerOptions } from "node:worker_threads";

/**
 * `spawnWorker(new URL("./session-worker.ts", import.meta.url), { workerData })`. The URL is written with the source's
 * ending; in the compiled tree the same module ends in `.js`.
 */
export function spawnWorker(module: URL, options: WorkerOptions = {}): Worker {
  const fromSource = import.meta.url.endsWith(".ts");
  if (!fromSource)
    return new Worker(new URL(module.href.replace(/\.ts$/, ".js")), { ...options, execArgv: [] });
  const compiled = compiledFrom(module);
  if (compiled !== null) return new Worker(compiled, { ...options, execArgv: [] });
  // Node 20 does not apply --import hooks inside workers, so the worker registers tsx itself (a development dependency).
  const tsxFolder = dirname(createRequire(import.meta.url).resolve("tsx/package.json"));
  const tsx = pathToFileURL(join(tsxFolder, "dist/esm/api/index.mjs")).href;
  const start = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(module.href)}); })`;
  return new Worker(start, { ...options, eval: true, execArgv: [] });
}

/** From source with `LAPIDARY_COMPILED`, which the tests set: the same module in that up-to-date tree starts in a third of the time. */
function compiledFrom(module: URL): URL | null {
  const tree = process.env.LAPIDARY_COMPILED;
  const sources = new URL("./", import.meta.url).href;
  if (!tree || !module.href.startsWith(sources)) return null;
  return new URL(module.href.slice(sources.length).replace(/\.ts$/, ".js"), `${pathToFileURL(tree).href}/`);
}
