/** What `--text` takes: a plain text file, read whole. */
import { open } from "node:fs/promises";
import { DataError } from "../errors.ts";

/** Longest text file that is read whole. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/** @throws {DataError} no such file, one too long, or one that holds texts in a format of its own */
export async function readText(path: string): Promise<string> {
  const data = path.match(/\.(jsonl|json|parquet|arrow|zst)$/i)?.[0];
  if (data !== undefined)
    throw new DataError(
      `${path}: --text takes plain text, and would measure the ${data} file's own syntax too`,
      {
        hint: "give a .txt file; a recipe's eval.sets read documents and chats (lapidary eval <recipe>)",
      },
    );
  const file = await open(path, "r").catch(() => {
    throw new DataError(`no text file at ${path}`, {
      hint: "--text takes any UTF-8 text, a few KB are enough",
    });
  });
  try {
    const { size } = await file.stat();
    if (size > MAX_TEXT_BYTES)
      throw new DataError(`${path} has ${size} bytes, at most ${MAX_TEXT_BYTES} are read`, {
        hint: "cut it, or make a corpus set of it with a recipe",
      });
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
