/** A text straight to windows in memory, for a quick look at an SAE; nothing is written. */
import { DataError } from "../errors.ts";
import type { TokenizerPool } from "./tokenizer-pool.ts";
import { keepMask, WindowBuffer } from "./window-buffer.ts";
import { ROLES, type WindowBatch } from "./windows.ts";

/**
 * All of a text as consecutive windows, each beginning with BOS if the tokenizer has one; the last is padded on the
 * right (and left out if it held a single token). Special tokens are not kept.
 * @throws {DataError} the text is empty or cannot be tokenised
 */
export async function windowsFromText(
  text: string,
  tokenizer: TokenizerPool,
  contextSize: number,
): Promise<WindowBatch> {
  const { bosTokenId, padTokenId, specialTokenIds } = tokenizer.facts;
  const [{ tokenIds }] = await tokenizer.encode([{ text, place: "the text" }]);
  const excluded = new Set(specialTokenIds);
  const prefix = bosTokenId === null ? [] : [bosTokenId];
  const body = Array.from(tokenIds).slice(tokenIds[0] === bosTokenId ? 1 : 0);
  const room = contextSize - prefix.length;
  const buffer = new WindowBuffer(contextSize, Math.max(1, Math.ceil(body.length / room)));
  for (let at = 0; at < body.length; at += room) {
    const ids = [...prefix, ...body.slice(at, at + room)];
    if (ids.length < 2) continue;
    const window = {
      length: ids.length,
      tokenIds: new Uint32Array(contextSize).fill(padTokenId),
      role: new Uint8Array(contextSize).fill(ROLES.indexOf("text")),
      document: new Uint32Array(contextSize),
      documents: [],
    };
    window.tokenIds.set(ids);
    buffer.add(window, keepMask(window, excluded));
  }
  const batch = buffer.take();
  if (!batch.keep.includes(1))
    throw new DataError("the text has no token to keep", { hint: "give more text" });
  return batch;
}
