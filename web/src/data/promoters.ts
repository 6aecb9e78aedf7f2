/** Which latents promote a token: a search in the largest logits of all latents, read once a file. Runs in the worker. */
import { type FileAddress, readColumns } from "./parquet.ts";

interface Promoted {
  readonly latents: Float64Array;
  readonly tokens: readonly string[];
}

const read = new Map<string, Promise<Promoted>>();

/** Latents, ascending, with a token among their largest logits that contains `text`, upper and lower case alike. */
export async function promoters(file: FileAddress, text: string): Promise<Uint32Array> {
  const found = read.get(file.url) ?? readPromoted(file);
  read.set(file.url, found);
  found.catch(() => read.delete(file.url));
  const { latents, tokens } = await found;
  const wanted = text.toLowerCase();
  const hits = new Set<number>();
  for (let i = 0; i < tokens.length; i++) if (tokens[i].includes(wanted)) hits.add(latents[i]);
  return Uint32Array.from(hits).sort();
}

async function readPromoted(file: FileAddress): Promise<Promoted> {
  const { columns } = await readColumns(file, ["latent", "side", "token"]);
  const { latent: latents, side: sides, token: tokens } = columns;
  if (!(latents instanceof Float64Array && Array.isArray(sides) && Array.isArray(tokens)))
    throw new Error(`${file.url} is no table of logits`);
  const isTop = (_: unknown, i: number) => sides[i] === "top";
  return { latents: latents.filter(isTop), tokens: tokens.filter(isTop).map((token) => token.toLowerCase()) };
}
