/**
 * Rows of one table on their way to a Parquet file: gathered in chunks, written in parts of bounded size beside it, and in the
 * end copied to one file with the table's row groups. Rows keep the order in which they are added.
 *
 * A list of texts is given and held as places in one list of all texts, counted from 1, and spelled out by DuckDB when the
 * file is written: a text that occurs a thousand times crosses into DuckDB once.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Cell, CHUNK_ROWS, type Database, quoted } from "./database.ts";
import type { Table } from "./tables.ts";

/** DuckDB's type of a column of such lists. */
const TEXT_LIST = "VARCHAR[]";
/** A table of one row, which holds all texts. */
const TEXTS = "texts";
/** Parts are read once, and removed. */
const PART_ZSTD_LEVEL = 1;

/** Gives the database the texts that lists of texts point into: once, after the last row and before the first file. */
export async function holdTexts(database: Database, texts: readonly string[]): Promise<void> {
  await database.createTable(TEXTS, [{ name: "list", type: TEXT_LIST, meaning: "all texts" }]);
  await database.append(TEXTS, [[texts]]);
}

export class TableWriter {
  readonly #database: Database;
  readonly #name: string;
  readonly #table: Table;
  readonly #partValues: number;
  readonly #parts: string[] = [];
  #columns: Cell[][];
  #heldValues = 0;
  nRows = 0;

  private constructor(database: Database, name: string, table: Table, partValues: number) {
    this.#database = database;
    this.#name = name;
    this.#table = table;
    this.#partValues = partValues;
    this.#columns = table.columns.map(() => []);
  }

  /** `partValues`: held in the database before they go to a part. */
  static async open(
    database: Database,
    name: string,
    table: Table,
    partValues: number,
  ): Promise<TableWriter> {
    const held = table.columns.map((column) =>
      column.type === TEXT_LIST ? { ...column, type: "UINTEGER[]" } : column,
    );
    await database.createTable(name, held);
    return new TableWriter(database, name, table, partValues);
  }

  /** Cells in the order of the table's columns. */
  async add(row: readonly Cell[]): Promise<void> {
    for (const [column, cell] of row.entries()) {
      this.#columns[column].push(cell);
      this.#heldValues += typeof cell === "object" && cell !== null ? cell.length : 1;
    }
    this.nRows += 1;
    if (this.#columns[0].length >= CHUNK_ROWS) await this.#flush();
    if (this.#heldValues >= this.#partValues) await this.#writePart();
  }

  /** Writes the table's file, where it has lists of texts once these are held; the writer is done. */
  async finish(): Promise<void> {
    await this.#flush();
    if (this.#parts.length === 0) {
      await this.#writeFile(`"${this.#name}"`);
      await this.#database.run(`DROP TABLE "${this.#name}"`);
      return;
    }
    await this.#writePart();
    await this.#database.run(`DROP TABLE "${this.#name}"`);
    const list = this.#parts.map((part) => quoted(this.#path(part))).join(", ");
    await this.#writeFile(`read_parquet([${list}])`);
    for (const part of this.#parts) await rm(this.#path(part));
  }

  /** `held`: where DuckDB finds the rows. They stream past the one row of texts, if any, which keeps their order. */
  async #writeFile(held: string): Promise<void> {
    const { columns, file } = this.#table;
    const hasTexts = columns.some(({ type }) => type === TEXT_LIST);
    const selected = columns.map(({ name, type }) =>
      type === TEXT_LIST ? `list_select(${TEXTS}.list, "${name}") AS "${name}"` : `"${name}"`,
    );
    await this.#database.writeParquet(
      `SELECT ${selected.join(", ")} FROM ${held}${hasTexts ? `, ${TEXTS}` : ""}`,
      file,
    );
  }

  async #flush(): Promise<void> {
    if (this.#columns[0].length === 0) return;
    await this.#database.append(this.#name, this.#columns);
    this.#columns = this.#table.columns.map(() => []);
  }

  async #writePart(): Promise<void> {
    await this.#flush();
    this.#heldValues = 0;
    const part = `${this.#name}.part-${String(this.#parts.length).padStart(5, "0")}`;
    await this.#database.writeParquet(`SELECT * FROM "${this.#name}"`, part, PART_ZSTD_LEVEL);
    this.#parts.push(part);
    await this.#database.run(`TRUNCATE "${this.#name}"`);
  }

  #path(part: string): string {
    return join(this.#database.folder, part);
  }
}
