/** Every kind of file as one list of documents: order, ranges, and errors that name file, line, got and expected. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SourceDocument } from "../document.ts";
import { type CorpusSourceOptions, openCorpusSource } from "./source.ts";

const fixtures = fileURLToPath(new URL("../../../test/fixtures/corpus/", import.meta.url));

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-sources-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function read(
  location: string,
  options: Partial<CorpusSourceOptions> & { from?: number; to?: number } = {},
): Promise<SourceDocument[]> {
  const { from = 0, to = Number.POSITIVE_INFINITY, ...rest } = options;
  const source = await openCorpusSource({ name: "s", location, kind: "text", weight: 1, ...rest });
  const documents: SourceDocument[] = [];
  for await (const document of source.documents(from, to)) documents.push(document);
  return documents;
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(dir, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, content);
  return path;
}

const texts = (documents: readonly SourceDocument[]) => documents.map((document) => document.text);

describe("text files", () => {
  it("in a folder are documents in the order of their paths", async () => {
    await file("books/b.txt", "second");
    await file("books/a/z.txt", "first");
    await file("books/c.txt", "third");
    await file("books/notes.md", "not text");
    const documents = await read(join(dir, "books"));
    expect(texts(documents)).toEqual(["first", "second", "third"]);
    expect(documents.map(({ index, place }) => [index, place])).toEqual([
      [0, "a/z.txt"],
      [1, "b.txt"],
      [2, "c.txt"],
    ]);
    expect(texts(await read(join(dir, "books"), { from: 1, to: 2 }))).toEqual(["second"]);
  });

  it("must be UTF-8", async () => {
    const path = await file("latin.txt", Uint8Array.of(0x63, 0xe9, 0x21));
    await expect(read(path)).rejects.toThrow("latin.txt: not UTF-8");
  });
});

describe("JSON lines", () => {
  it("count documents over files, pass over blank lines, and tell the byte after each", async () => {
    await file("rows/1.jsonl", '{"text":"a"}\n\n{"text":"b"}\n');
    await file("rows/2.jsonl", '{"text":"ç"}\r\n{"text":"d"}');
    const documents = await read(join(dir, "rows"));
    expect(
      documents.map(({ index, file, indexInFile, text, endOffset }) => [
        index,
        file,
        indexInFile,
        text,
        endOffset,
      ]),
    ).toEqual([
      [0, 0, 0, "a", 13],
      [1, 0, 1, "b", 27],
      [2, 1, 0, "ç", 15],
      [3, 1, 1, "d", 27],
    ]);
    for (const from of [0, 1, 2, 3, 4])
      expect(texts(await read(join(dir, "rows"), { from }))).toEqual(["a", "b", "ç", "d"].slice(from));
  });

  it("skip what stands before the range without parsing it", async () => {
    const path = await file("skip.jsonl", 'nonsense\n{"text":"good"}\n');
    expect(texts(await read(path, { from: 1 }))).toEqual(["good"]);
    await expect(read(path)).rejects.toThrow('skip.jsonl:1: not JSON, it starts with "nonsense"');
  });

  it("name the line and column that is wrong", async () => {
    const wrong = async (line: string, options: Partial<CorpusSourceOptions> = {}) =>
      read(await file("wrong.jsonl", `{"text":"ok","messages":[]}\n${line}\n`), options);
    await expect(wrong('{"text":5}')).rejects.toThrow(
      'wrong.jsonl:2: got a number in "text", expected a string',
    );
    await expect(wrong('{"body":"x"}')).rejects.toThrow('wrong.jsonl:2: no column "text"; the row has: body');
    await expect(wrong("[1]")).rejects.toThrow("wrong.jsonl:2: got a list, expected an object");
    await expect(wrong('{"messages":[{"from":"human","value":"x"}]}', { kind: "chat" })).rejects.toThrow(
      'wrong.jsonl:2: message 0 of "messages" has role nothing and content nothing, expected two strings',
    );
    await expect(wrong('{"__proto__":"x"}', { textColumn: "toString" })).rejects.toThrow(
      'no column "toString"',
    );
  });
});

describe("zstd", () => {
  const all = Array.from(
    { length: 200 },
    (_unused, i) => `document ${i}: ${"one two three ".repeat((i % 9) + 1)}`,
  );

  it("is decoded over several frames, as the zstd tool wrote them", async () => {
    expect(texts(await read(`${fixtures}docs.jsonl.zst`))).toEqual(all);
    expect(texts(await read(`${fixtures}docs.jsonl.zst`, { from: 118, to: 123 }))).toEqual(
      all.slice(118, 123),
    );
  });

  it("says so when the file is cut off, damaged, or not zstd", async () => {
    const bytes = await readFile(`${fixtures}docs.jsonl.zst`);
    await expect(read(await file("cut.jsonl.zst", bytes.subarray(0, 300)))).rejects.toThrow(
      /cut\.jsonl\.zst: cut off zstd data near byte 300/,
    );
    await expect(read(await file("not.jsonl.zst", '{"text":"plain JSON, misnamed"}\n'))).rejects.toThrow(
      /not\.jsonl\.zst: starts with .*, expected zstd's fd2fb528/,
    );
    const wide = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, ...new Array<number>(20).fill(0)]);
    await expect(read(await file("wide.jsonl.zst", wide))).rejects.toThrow(
      /asks for a window of 1073741824 bytes/,
    );
  });

  it("refuses a line that blows up without end", async () => {
    // 1000 blocks that each stand for 128 KiB of one letter: 4 kB for 128 MB
    const block = [(131072 << 3) | 2, (131072 << 3) >> 8, (131072 << 3) >> 16, 0x61].map((x) => x & 0xff);
    const frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x38, ...new Array(1000).fill(block).flat()];
    await expect(read(await file("bomb.jsonl.zst", Uint8Array.from(frame as number[])))).rejects.toThrow(
      /bomb\.jsonl\.zst:1: a line of more than 67108864 bytes/,
    );
  });
});

describe("Parquet", () => {
  it("reads one column, from any row, as DuckDB wrote it", async () => {
    const path = `${fixtures}text.parquet`;
    const all = await read(path);
    expect(all).toHaveLength(3000);
    expect(all[0].text).toBe("document 0: the quick brown fox ");
    expect(all[2999].place).toBe("text.parquet row 2999");
    expect(texts(await read(path, { from: 1999, to: 2002 }))).toEqual(texts(all).slice(1999, 2002));
  });

  it("reads chats as lists of messages", async () => {
    const chats = await read(`${fixtures}chats.parquet`, { kind: "chat", from: 39 });
    expect(chats.map(({ messages }) => messages)).toEqual([
      [
        { role: "user", content: "question 39" },
        { role: "assistant", content: "answer 39" },
      ],
    ]);
  });

  it("names a missing column and a damaged file", async () => {
    await expect(read(`${fixtures}text.parquet`, { textColumn: "body" })).rejects.toThrow(
      'text.parquet: no column "body"; it has: id, text',
    );
    await expect(read(`${fixtures}text.parquet`, { textColumn: "id" })).rejects.toThrow(
      'text.parquet row 0: got a bigint in "id", expected a string',
    );
    await expect(read(await file("bad.parquet", "PAR1 nothing PAR1"))).rejects.toThrow(
      /bad\.parquet at byte 9: cannot be read as Parquet: a footer of 543649385 bytes/,
    );
  });
});

/** What `make_arrow_and_parquet.py` wrote, in whatever way. */
const SIXTY = Array.from({ length: 60 }, (_, i) => ({
  text: `document ${i}: ${"one two three ".repeat(i % 5)}`,
  messages: Array.from({ length: 1 + (i % 4) }, (_, j) => ({
    role: j % 2 === 0 ? "user" : "assistant",
    content: `turn ${j} of ${i} é`,
  })),
}));

describe("Parquet, as pyarrow writes it", () => {
  it.each([
    "plain-index",
    "snappy-dictionary",
    "gzip-v2",
    "brotli-index",
    "lz4",
    "zstd-v2-index",
    "deltas",
    "deltas-v2",
  ])("%s: texts and chats, from any row", async (name) => {
    const path = `${fixtures}parquet/${name}.parquet`;
    expect(texts(await read(path))).toEqual(SIXTY.map(({ text }) => text));
    expect(texts(await read(path, { from: 41, to: 44 }))).toEqual(
      SIXTY.slice(41, 44).map(({ text }) => text),
    );
    const chats = await read(path, { kind: "chat", from: 13 });
    expect(chats.map(({ messages }) => messages)).toEqual(SIXTY.slice(13).map(({ messages }) => messages));
  });

  it("a run of levels that says more than the page holds is refused before it is written out", async () => {
    const whole = await readFile(`${fixtures}parquet/plain-index.parquet`);
    // definition levels of a page: a length of 2 bytes, then a run of eight ones
    const levels = Buffer.from([2, 0, 0, 0, 16, 1]);
    const places: number[] = [];
    for (let at = whole.indexOf(levels); at >= 0; at = whole.indexOf(levels, at + 1)) places.push(at);
    expect(places.length).toBeGreaterThan(4);
    const refused: string[] = [];
    for (const at of places) {
      const bytes = Uint8Array.from(whole);
      bytes[at + 4] = 126; // 63 ones
      await read(await file("run.parquet", bytes)).catch((error: Error) => refused.push(error.message));
    }
    expect(refused.length).toBeGreaterThan(4); // the others are of other columns
    for (const message of refused)
      expect(message).toMatch(
        /run\.parquet at byte \d+: Parquet, page of "text": a run of 63 values, at most 8 were expected/,
      );
  });
});

describe("a folder that `datasets` saved", () => {
  const saved = `${fixtures}saved-dataset`;

  it("is read in the order of state.json, from any row", async () => {
    const all = await read(saved);
    expect(texts(all)).toEqual(SIXTY.map(({ text }) => text));
    expect(all[34].place).toBe("data-00001-of-00002.arrow row 34");
    expect(texts(await read(saved, { from: 33, to: 37 }))).toEqual(
      SIXTY.slice(33, 37).map(({ text }) => text),
    );
    const chats = await read(saved, { kind: "chat", from: 20 });
    expect(chats.map(({ messages }) => messages)).toEqual(SIXTY.slice(20).map(({ messages }) => messages));
  });

  it("is refused where a column is missing or no text, an index picks its rows, or it has several splits", async () => {
    await expect(read(saved, { textColumn: "body" })).rejects.toThrow(
      'data-00001-of-00002.arrow: no column "body"; it has: id, text, messages',
    );
    await expect(read(saved, { textColumn: "id" })).rejects.toThrow(/row 0: got nothing|no column "id"/);
    const copy = join(dir, "indexed");
    await cp(saved, copy, { recursive: true });
    const state = JSON.parse(await readFile(join(copy, "state.json"), "utf8"));
    state._indices_data_files = [{ filename: "indices.arrow" }];
    await writeFile(join(copy, "state.json"), JSON.stringify(state));
    await expect(read(copy)).rejects.toThrow(/an index \(_indices_data_files\) says which rows count/);
    await file("dict/dataset_dict.json", '{"splits": ["train", "test"]}');
    await expect(read(join(dir, "dict"))).rejects.toThrow(/several splits of a data set \(train, test\)/);
  });
});

describe("a source", () => {
  it("must be there, and be of one format", async () => {
    await expect(read(join(dir, "absent"))).rejects.toThrow(/absent: no such file or folder/);
    await expect(read(await file("odd.csv", "a,b"))).rejects.toThrow(/odd\.csv: unknown kind of file/);
    await file("mixed/a.txt", "a");
    await file("mixed/b.jsonl", '{"text":"b"}');
    await expect(read(join(dir, "mixed"))).rejects.toThrow(/several formats \(text, jsonl\)/);
    await expect(read(join(dir, "mixed", "a.txt"), { split: "train" })).rejects.toThrow(/has no split/);
  });
});
