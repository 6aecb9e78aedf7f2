/** Shows from manifests alone that no two sets share a document. */
import { DataError } from "../errors.ts";
import type { WindowsManifest, WindowsSource } from "./windows.ts";

/**
 * Compares every pair of sets. Where both used the same file (by its content, wherever it lay), the ranges of its
 * documents must not meet; sources that do not list their files are compared by content hash and location.
 * @throws {DataError} naming both sets, the source and the documents they share
 */
export function checkDisjoint(manifests: readonly WindowsManifest[]): void {
  for (const [i, a] of manifests.entries())
    for (const b of manifests.slice(i + 1))
      for (const x of a.sources) for (const y of b.sources) checkPair(a.set, x, b.set, y);
}

function checkPair(setA: string, a: WindowsSource, setB: string, b: WindowsSource): void {
  if (a.files !== undefined && b.files !== undefined) {
    for (const file of a.files)
      for (const other of b.files)
        if (file.identity === other.identity)
          refuseOverlap(setA, setB, `${a.location} (${file.name})`, file.documents, other.documents);
    return;
  }
  const samePlace = a.location === b.location && a.config === b.config && a.split === b.split;
  if (samePlace || a.contentHash === b.contentHash)
    refuseOverlap(setA, setB, a.location, a.documents, b.documents);
}

function refuseOverlap(
  setA: string,
  setB: string,
  what: string,
  a: readonly [number, number],
  b: readonly [number, number],
): void {
  const from = Math.max(a[0], b[0]);
  const to = Math.min(a[1], b[1]);
  if (from >= to) return;
  throw new DataError(`sets "${setA}" and "${setB}" both use documents ${from} to ${to - 1} of ${what}`, {
    hint: `held-out text must not be trained on: give one set fromDocument: ${Math.max(a[1], b[1])}, or another file`,
  });
}
