/** The notes of a card: links are https and stay one in Markdown; a file that holds something else is refused. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { FormatError, RecipeError } from "../errors.ts";
import { parseLink, readCardNotes, withLinks, writeCardNotes } from "./card-notes.ts";
import { RunDirectory } from "./run-directory.ts";

const scratch = await mkdtemp(join(tmpdir(), "notes-"));
afterAll(() => rm(scratch, { recursive: true }));
const dir = new RunDirectory(scratch);

it("a link is a name and an https address, which may hold = and # itself", () => {
  expect(parseLink("neuronpedia=https://www.neuronpedia.org/m?a=1&b=%20#c")).toEqual({
    name: "neuronpedia",
    url: "https://www.neuronpedia.org/m?a=1&b=%20#c",
  });
  for (const text of [
    "",
    "=",
    "a",
    "a=",
    "a=b",
    "a=//x.org",
    "a=ftp://x.org",
    "a=https://x.org/ y",
    "[a]=https://x.org",
  ])
    expect(() => parseLink(text), text).toThrow(RecipeError);
  expect(() => parseLink(`a=https://x.org/${"y".repeat(2000)}`)).toThrow(RecipeError);
});

it("of two links of one name the later one stands, in the place of the first", () => {
  const [a, b, c] = ["a=https://a.org", "b=https://b.org", "a=https://c.org"].map(parseLink);
  expect(withLinks([a, b], [c])).toEqual([c, b]);
});

it("are empty without a file, come back as they were written, and are not written again unchanged", async () => {
  const none = await readCardNotes(dir);
  expect(none).toMatchObject({ license: null, sourceLicense: null, links: [] });
  await writeCardNotes(dir, none);
  await expect(stat(dir.cardNotes)).rejects.toThrow(/ENOENT/);
  const notes = {
    ...none,
    license: "mit",
    sourceLicense: { declared: null },
    links: [parseLink("a=https://a.org")],
  };
  await writeCardNotes(dir, notes);
  expect(await readCardNotes(dir)).toEqual(notes);
});

it.each([
  ["another format", { format: "lapidary-something" }, /format/],
  ["a link that is none", { links: [{ name: "a", url: "javascript:alert(1)" }] }, /links\.0\.url/],
  ["an unknown key", { more: 1 }, /more|it/],
])("%s is refused", async (_, change, what) => {
  const path = dir.cardNotes;
  const notes = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...notes, ...change }));
  await expect(readCardNotes(dir)).rejects.toThrow(FormatError);
  await expect(readCardNotes(dir)).rejects.toThrow(what);
  await writeFile(path, JSON.stringify(notes));
});
