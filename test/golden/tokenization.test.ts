/** SAELens' own concat_and_batch_sequences, token for token: every case found in the golden folder. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConcatPacker } from "../../src/corpus/packing.ts";
import { countAbsent, goldenFolder } from "./cases.ts";

interface Golden {
  readonly context_size: number;
  readonly docs: readonly (readonly number[])[];
  readonly cases: readonly {
    readonly options: {
      readonly begin_batch_token_id?: number | null;
      readonly begin_sequence_token_id?: number | null;
      readonly sequence_separator_token_id?: number | null;
      readonly disable_concat_sequences?: boolean;
    };
    readonly output: readonly (readonly number[])[];
  }[];
}

/** Every JSON file in a folder whose name begins with "tokenization". */
const files = (existsSync(goldenFolder) ? readdirSync(goldenFolder, { withFileTypes: true }) : [])
  .filter((entry) => entry.isDirectory() && entry.name.startsWith("tokenization"))
  .flatMap(({ name }) => readdirSync(join(goldenFolder, name)).map((file) => `${name}/${file}`))
  .filter((path) => path.endsWith(".json"))
  .sort();

describe("packing as SAELens does it", () => {
  countAbsent("tokenization case", files);
  for (const name of files) {
    const { context_size, docs, cases } = JSON.parse(
      readFileSync(join(goldenFolder, name), "utf8"),
    ) as Golden;
    for (const [i, { options, output }] of cases.entries()) {
      const packer = new ConcatPacker({
        contextSize: context_size,
        beginBatchTokenId: options.begin_batch_token_id,
        beginSequenceTokenId: options.begin_sequence_token_id,
        sequenceSeparatorTokenId: options.sequence_separator_token_id,
        disableConcatSequences: options.disable_concat_sequences,
      });
      const windows = docs.flatMap((tokenIds, index) => [
        ...packer.add({ index, tokenIds, roles: new Uint8Array(tokenIds.length) }),
      ]);

      it(`${name} case ${i} ${JSON.stringify(options)}`, () => {
        expect(windows.map((window) => Array.from(window.tokenIds))).toEqual(output);
      });

      it(`${name} case ${i}: every token that is a document's own is marked with its document`, () => {
        const inserted = [
          options.begin_batch_token_id,
          options.begin_sequence_token_id,
          options.sequence_separator_token_id,
        ];
        for (const { tokenIds, document, role, length } of windows) {
          expect(length).toBe(context_size);
          for (let t = 0; t < length; t++)
            if (role[t] === 0) expect(docs[document[t]]).toContain(tokenIds[t]);
            else expect(inserted).toContain(tokenIds[t]);
        }
      });
    }
  }
});
