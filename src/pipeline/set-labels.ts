/** What the corpus knows of a set's tokens beside their activations: source, class, and the text around them. */
import type { TokenizerFolder } from "../corpus/tokenizer-folder.ts";
import { readTokenizerFolder } from "../corpus/tokenizer-folder.ts";
import { Vocabulary } from "../corpus/vocabulary.ts";
import { locateDocument } from "../corpus/windows.ts";
import type { EvaluateOptions } from "../evals/evaluate.ts";
import { TokenClasses } from "../evals/token-classes.ts";
import { TokenTexts } from "../evals/token-texts.ts";
import type { RunContext } from "./context.ts";
import { openSetWindows } from "./stages/recorded.ts";

type SetLabels = Required<Pick<EvaluateOptions, "labels" | "texts">>;

/** A vocabulary with the classes of its tokens, kept for as long as the run: a large one takes a second to read. */
const known = new WeakMap<RunContext, Promise<{ vocabulary: Vocabulary; classes: TokenClasses }>>();

/** Labels of a set's tokens; none where activations were imported, since nothing is known of their texts. */
export async function setLabels(
  context: RunContext,
  set: string,
): Promise<SetLabels | Record<string, never>> {
  if (context.recipe.activations.import !== null) return {};
  const windows = await openSetWindows(context, set);
  const { vocabulary, classes } = await vocabularyOf(context);
  const { sources } = windows.manifest;
  return {
    labels: {
      sourceOf: (document) => sources[locateDocument(sources, document).source]?.name ?? null,
      classOf: (tokenId) => classes.of(tokenId),
    },
    texts: new TokenTexts(windows, vocabulary),
  };
}

function vocabularyOf(context: RunContext) {
  let found = known.get(context);
  if (found === undefined) {
    found = context
      .modelFolder("model")
      .then(readTokenizerFolder)
      .then((folder: TokenizerFolder) => {
        const vocabulary = new Vocabulary(folder);
        return { vocabulary, classes: new TokenClasses(vocabulary, folder.facts) };
      });
    known.set(context, found);
  }
  return found;
}
