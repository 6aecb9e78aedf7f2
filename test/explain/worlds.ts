/** Made-up indexes to explain, each in a folder of its own, and their explanations read back. */
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Database, quoted } from "../../src/dashboard/database.ts";
import type { ExplanationsManifest } from "../../src/dashboard/explanations.ts";
import { explainLatents } from "../../src/explain/run.ts";
import type { ExplainOptions } from "../../src/explain/settings.ts";
import type { ChatServer } from "./chat-server.ts";
import { writeMadeUpIndex } from "./made-up-index.ts";

export class Worlds {
  readonly root: string;
  #serial = 0;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(): Promise<Worlds> {
    const root = await mkdtemp(join(tmpdir(), "lapidary-explain-"));
    await writeMadeUpIndex(join(root, "index"));
    return new Worlds(root);
  }

  /** A fresh copy of the index. */
  async copy(): Promise<string> {
    const folder = join(this.root, `copy-${this.#serial++}`, "index");
    await cp(join(this.root, "index"), folder, { recursive: true });
    return folder;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Options against `server`: few requests, everything else as it is by default. */
export function against(server: ChatServer, changes: Partial<ExplainOptions> = {}): ExplainOptions {
  return {
    endpoint: { url: server.url, timeoutMs: 20_000, retryDelayMs: 1, attempts: 3 },
    model: "made-up-model",
    contextsPerRequest: 10,
    ...changes,
  };
}

export const explain = explainLatents;

/** Rows of explanations.parquet, by latent. */
export async function readRows(folder: string): Promise<Record<string, unknown>[]> {
  const database = await Database.open({ folder, memoryBytes: 128 * 2 ** 20 });
  try {
    return await database.rows(`SELECT * FROM read_parquet(${quoted(join(folder, "explanations.parquet"))})`);
  } finally {
    database.close();
  }
}

export async function readManifest(folder: string): Promise<ExplanationsManifest> {
  return JSON.parse(await readFile(join(folder, "explanations.json"), "utf8")) as ExplanationsManifest;
}
