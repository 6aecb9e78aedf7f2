/**
 * Contexts that end where their document does. An index shows the tokens around an activation as they stood in the window,
 * and a window may hold several documents; which token is of which, the corpus set knows.
 */
import type { WindowSet } from "../corpus/windows.ts";
import { StateError } from "../errors.ts";
import { type Example, trimmed, windowOf } from "./examples.ts";

/**
 * The examples in the same order, without tokens of other documents than their own.
 *
 * @param sets the indexed sets, in the index's order
 * @throws {StateError} an example's token is of another document than the index says
 */
export async function withinDocuments(
  examples: readonly Example[],
  sets: readonly WindowSet[],
): Promise<Example[]> {
  const windows = new Map<string, Uint32Array>();
  const cut: Example[] = [];
  for (const example of examples) {
    const set = sets[example.set];
    const key = windowOf(example);
    const documents = windows.get(key) ?? (await set.read(example.window, example.window + 1)).document;
    windows.set(key, documents);
    const { document, position, at, tokens } = example;
    if (documents[position] !== document)
      throw new StateError(
        `${set.dir}: position ${position} of window ${example.window} is of document ${documents[position]}, the index says ${document}`,
        "the corpus set is not the one that was indexed: index it again",
      );
    const first = position - at;
    let before = 0;
    while (before < at && documents[position - before - 1] === document) before++;
    let after = 0;
    while (position + after + 1 < first + tokens.length && documents[position + after + 1] === document)
      after++;
    cut.push(trimmed(example, before, after));
  }
  return cut;
}
