/** The files that make a model what it is, for records and cards: graphs by hash, external weights by size. */
import type { ModelInspection } from "../models/inspect.ts";

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
