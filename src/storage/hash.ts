/** SHA-256 of files and values, as lower-case hexadecimal. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { canonicalJson } from "./json.ts";

/** Hash of a file's bytes, read as a stream. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

export function hashBytes(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Hash of a JSON value, independent of key order. */
export function hashValue(value: unknown): string {
  return hashBytes(canonicalJson(value));
}
