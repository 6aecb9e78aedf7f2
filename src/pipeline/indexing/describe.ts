/** What an index says of its SAE and its tokens, read off the SAE's own files and the tokenizer's. */
import type { Vocabulary } from "../../corpus/vocabulary.ts";
import { NO_TOKEN } from "../../dashboard/labels/labels.ts";
import { openIndex } from "../../dashboard/open-index.ts";
import { textOf } from "../../evals/token-texts.ts";
import type { Sae } from "../../sae/sae.ts";
import { trainingRecord } from "../../sae/training-record.ts";
import type { WantedIndex } from "./make-index.ts";

export function describeSae(
  sae: Sae,
  saeName: string,
): Pick<WantedIndex, "sae" | "saeName" | "widths" | "l0"> {
  const { k } = trainingRecord(sae);
  return { sae, saeName, widths: widthsOf(sae), l0: k?.value ?? null };
}

/** Matryoshka widths as its files record them, the last being dSae; [dSae] where they record none. */
function widthsOf(sae: Sae): readonly number[] {
  const { dSae } = sae.config;
  const recorded = (trainingRecord(sae).widths?.value ?? []).filter((width) => width < dSae);
  const ascend = recorded.every((width, i) => Number.isInteger(width) && width > (recorded[i - 1] ?? 0));
  return ascend ? [...recorded, dSae] : [dSae];
}

/** Text of a token; empty where the store does not know which it is. */
export function tokenText(vocabulary: Vocabulary | null): (tokenId: number) => string {
  const nameless = { bytesOf: () => null };
  return (id) => (id === NO_TOKEN ? "" : textOf([id], vocabulary ?? nameless));
}

/** [dSae] densities that an index records. */
export async function densitiesOf(dir: string): Promise<Float64Array> {
  const index = await openIndex(dir);
  try {
    const rows = await index.rows("SELECT density FROM latents ORDER BY latent");
    return Float64Array.from(rows, ({ density }) => density as number);
  } finally {
    index.close();
  }
}
