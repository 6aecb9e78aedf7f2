/** Files of a run on their way to the hub, and how one is told of it. */
import { missingFiles, type OutgoingFile, pushFiles } from "../../hub/push.ts";
import type { Repository } from "../../hub/repository.ts";
import type { RunContext } from "../context.ts";

/** Sends what is not there yet, as one commit on top of it. */
export async function send(
  context: RunContext,
  there: Repository,
  files: readonly OutgoingFile[],
  options: { readonly xet?: boolean; readonly signal?: AbortSignal },
  title: string,
): Promise<Repository> {
  const missing = missingFiles(there, files);
  if (missing.length === 0) return there;
  const what = `send ${missing.length} file${missing.length === 1 ? "" : "s"} to ${there.name}`;
  return told(context, "publish", what, (progress) =>
    pushFiles(there, files, {
      title,
      xet: options.xet,
      signal: options.signal,
      onProgress: (done, total) => progress({ done, total, unit: "bytes" }),
    }),
  );
}

/** Does one step, and tells the listener of it. */
export async function told<T>(
  context: RunContext,
  unit: string,
  title: string,
  work: (report: (progress: { done: number; total: number | null; unit: string }) => void) => Promise<T>,
): Promise<T> {
  context.emit({ kind: "begin", unit, title, resumed: false });
  const started = performance.now();
  const result = await work((progress) => context.emit({ kind: "progress", unit, progress }));
  const seconds = Math.round(performance.now() - started) / 1000;
  context.emit({ kind: "done", unit, title, seconds });
  return result;
}
