/** All dialects, in the order in which they are asked; a place that several could claim belongs to the first. */
import { FormatError, UnsupportedError } from "../../errors.ts";
import type { Dialect } from "./dialect.ts";
import { dictionaryLearning } from "./dictionary-learning.ts";
import { gemmaScope } from "./gemma-scope.ts";
import { gemmaScope2 } from "./gemma-scope-2.ts";
import { hookZ } from "./hook-z.ts";
import { layerTranscoders } from "./layer-transcoders.ts";
import { llamaScope } from "./llama-scope.ts";
import { llamaScopeR1 } from "./llama-scope-r1.ts";
import { byMapping } from "./mapping.ts";
import { openai } from "./openai.ts";
import { openPlace, type Place } from "./place.ts";
import { qresearch } from "./qresearch.ts";
import { saelens } from "./saelens.ts";
import { sparsify } from "./sparsify.ts";

const DIALECTS: readonly Dialect[] = [
  saelens,
  sparsify,
  gemmaScope,
  gemmaScope2,
  dictionaryLearning,
  llamaScope,
  llamaScopeR1,
  layerTranscoders,
  hookZ,
  qresearch,
  openai,
  byMapping,
];

/** The dialect of what lies at a place, or null. @throws {FormatError} a file that had to be looked into is damaged */
export async function findDialect(place: Place): Promise<Dialect | null> {
  for (const dialect of DIALECTS) if (await dialect.recognises(place)) return dialect;
  return null;
}

/** `mntss_clt_layer_transcoder` in SAELens. */
const CROSS_LAYER = /^W_enc_\d+\.safetensors$/;

/** The dialect of what lies at a path. @throws {FormatError} there is nothing, or nothing that is known */
export async function recognise(location: string): Promise<{ dialect: Dialect; place: Place }> {
  const place = await openPlace(location);
  const dialect = await findDialect(place);
  if (dialect !== null) return { dialect, place };
  if ([...place.names].some((name) => CROSS_LAYER.test(name)))
    throw new UnsupportedError(
      `${place.path}: a transcoder across layers, whose decoder writes to many hook points`,
      "transcoders of one layer are read; SAELens adds up the decoders of such a one and gives only latents",
    );
  throw new FormatError(place.path, "no SAE in a format that Lapidary reads", {
    hint: `name the folder or file of one SAE: ${DIALECTS.map(({ name, files }) => `${files} (${name})`).join("; ")}`,
  });
}
