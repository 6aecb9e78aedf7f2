/** The files that make a model what it is: which to fetch, and what to record of them (graphs by hash, weights by size). */
import type { ModelInspection } from "../models/inspect.ts";
import { chooseModelFiles } from "../models/layout.ts";

export interface ModelFileIdentity {
  readonly name: string;
  /** null: too large to hash each time; size alone tells */
  readonly sha256: string | null;
  readonly bytes: number;
}

export function modelFiles({ graphs, weights }: ModelInspection): ModelFileIdentity[] {
  return [
    ...graphs.map(({ name, sha256, bytes }) => ({ name, sha256, bytes })),
    ...weights.map(({ name, bytes }) => ({ name, sha256: null, bytes: bytes ?? 0 })),
  ];
}

/** For `resolveSource`: of a repository's files, those that opening the model in this variant will read. */
export function choosePaths(dtype: string | null | undefined): (paths: string[]) => string[] {
  return (paths) => {
    const { decoder, embed, data, config, tokenizer } = chooseModelFiles(paths, {
      dtype: dtype ?? undefined,
    });
    return [decoder, ...(embed === null ? [] : [embed]), ...data, ...config, ...tokenizer];
  };
}
