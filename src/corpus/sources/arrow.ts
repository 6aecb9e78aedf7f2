/**
 * Arrow streams, as Hugging Face `datasets` lays them on disk (`save_to_disk`): batch by batch, only the column that is
 * wanted, a few thousand rows at a time.
 */
import { DataError } from "../../errors.ts";
import { type ArrowStream, mapMessages } from "../../formats/arrow-stream.ts";
import { readArrowValues } from "../../formats/arrow-values.ts";
import type { ByteFile } from "../../hub/byte-file.ts";
import { documentOfRow } from "../document.ts";
import type { DocumentReader } from "./reader.ts";

const ROWS_AT_A_TIME = 1024;

export const arrowReader: DocumentReader = {
  format: "arrow",
  async *documents(file, from, columns) {
    const column = columns.kind === "text" ? columns.textColumn : columns.messagesColumn;
    const stream = await open(file);
    const names = stream.fields.map(({ name }) => name);
    if (!names.includes(column))
      throw new DataError(`${file.name}: no column "${column}"; it has: ${names.slice(0, 20).join(", ")}`, {
        hint: `set ${columns.kind === "text" ? "textColumn" : "messagesColumn"}`,
      });
    let first = 0; // row of the current batch's first
    for (const batch of stream.batches) {
      for (let at = Math.max(0, from - first); at < batch.nRows; at += ROWS_AT_A_TIME) {
        const rows = [at, Math.min(batch.nRows, at + ROWS_AT_A_TIME)] as const;
        const values = await readArrowValues(stream, batch, column, rows, (begin, end) =>
          file.read(begin, end),
        );
        for (const [i, value] of values.entries()) {
          const index = first + at + i;
          const place = `${file.name} row ${index}`;
          yield { index, place, endOffset: null, ...documentOfRow({ [column]: value }, columns, place) };
        }
      }
      first += batch.nRows;
    }
    return first;
  },
  async count(file) {
    return (await open(file)).batches.reduce((sum, { nRows }) => sum + nRows, 0);
  },
};

function open(file: ByteFile): Promise<ArrowStream> {
  return mapMessages(file.name, file.size, (begin, end) => file.read(begin, end));
}
