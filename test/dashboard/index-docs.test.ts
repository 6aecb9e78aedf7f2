/** docs/formats/index.md has every table and column as `tables.ts` says it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TABLES, type Table } from "../../src/dashboard/tables.ts";

const written = readFileSync(new URL("../../docs/formats/index.md", import.meta.url), "utf8");

/** A table's section: copy it from the failure if it differs. */
function sectionOf({ file, row, columns }: Table): string {
  return [
    `### ${file}`,
    "",
    `One row: ${row}.`,
    "",
    "| column | type | meaning |",
    "|---|---|---|",
    ...columns.map(
      ({ name, type, nullable, meaning }) =>
        `| \`${name}\` | ${type}${nullable ? ", or null" : ""} | ${meaning} |`,
    ),
  ].join("\n");
}

describe("docs/formats/index.md", () => {
  it.each(Object.entries(TABLES))("describes %s as it is", (_, table: Table) => {
    const from = written.indexOf(`### ${table.file}`);
    expect(from).toBeGreaterThan(0);
    const section = written.slice(from).split(/\n(?=#{2,3} )/)[0];
    expect(section.trim()).toBe(sectionOf(table));
  });
});
