/** Explaining an index that lies in a folder, one process at a time. */
import { join, resolve } from "node:path";
import { type ExplainSummary, explainLatents } from "../../explain/run.ts";
import type { ExplainOptions } from "../../explain/settings.ts";
import { lockRun } from "../run-lock.ts";

/** As `explainLatents`. @throws {StateError} another process explains this index */
export async function explainIndex(folder: string, options: ExplainOptions): Promise<ExplainSummary> {
  const unlock = await lockRun(join(`${resolve(folder)}.answers`, "explain.lock"));
  try {
    return await explainLatents(folder, options);
  } finally {
    await unlock();
  }
}
