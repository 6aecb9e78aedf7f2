/** The tokens at which a model stops: `eos_token_id` of `generation_config.json`, else of `config.json`. */
import { join } from "node:path";
import { FormatError } from "../errors.ts";
import { readJsonIfPresent } from "../storage/json.ts";

const MOST = 1000;

/** Ids; empty where neither file says. @throws {FormatError} it is neither an id nor a list of ids */
export async function readStopTokens(dir: string): Promise<number[]> {
  for (const name of ["generation_config.json", "config.json"]) {
    const json = await readJsonIfPresent<{ eos_token_id?: unknown } | null>(join(dir, name));
    const said = json?.eos_token_id ?? null;
    if (said === null) continue;
    const ids: unknown[] = Array.isArray(said) ? said : [said];
    if (ids.length > MOST || !ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0))
      throw new FormatError(join(dir, name), "eos_token_id is neither a token id nor a list of them");
    return ids as number[];
  }
  return [];
}
