/**
 * The tokenizer's files in a model folder (tokenizer.json, tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja or .json) and the facts read off them: special ids, BOS, hashes. Nothing here tokenises.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, FormatError } from "../errors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashBytes, hashFile, hashValue } from "../storage/hash.ts";
import { readJson, readJsonIfPresent } from "../storage/json.ts";

/** The tokenizer's files, read and checked. */
export interface TokenizerFolder {
  readonly dir: string;
  /** tokenizer.json */
  readonly tokenizer: JsonObject;
  /** tokenizer_config.json, or {} */
  readonly config: JsonObject;
  /** the special-token map: `bos_token` → `<bos>` … */
  readonly namedTokens: Readonly<Record<string, string>>;
  readonly chatTemplate: string | null;
  readonly facts: TokenizerFacts;
}

/** What harvests and manifests need to know of a tokenizer. */
export interface TokenizerFacts {
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** what pads windows: the pad token, else BOS, else EOS, else 0 */
  readonly padTokenId: number;
  /** added tokens marked special ∪ the special-token map, ascending */
  readonly specialTokenIds: readonly number[];
  /** sha-256 over the names and hashes of the tokenizer's files */
  readonly tokenizerHash: string;
  /** sha-256 of the chat template's text; null without one */
  readonly chatTemplateHash: string | null;
}

type JsonObject = Readonly<Record<string, unknown>>;

const MAX_TEMPLATE_BYTES = 1024 * 1024;
const HASHED = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/** @throws {DataError | FormatError} tokenizer.json is absent or not what it should be */
export async function readTokenizerFolder(dir: string): Promise<TokenizerFolder> {
  const path = join(dir, "tokenizer.json");
  if ((await statIfPresent(path)) === null)
    throw new DataError(`${dir}: no tokenizer.json`, {
      hint: "the model's folder must hold its tokenizer: tokenizer.json and tokenizer_config.json",
    });
  const tokenizer = await readJson<JsonObject>(path);
  const config = (await readJsonIfPresent<JsonObject>(join(dir, "tokenizer_config.json"))) ?? {};
  const map = (await readJsonIfPresent<JsonObject>(join(dir, "special_tokens_map.json"))) ?? {};
  if (!isObject(tokenizer) || !isObject(tokenizer["model"]))
    throw new FormatError(path, 'expected an object with "model"');
  const chatTemplate = await readChatTemplate(dir, config);
  const ids = new TokenIds(path, tokenizer);
  const named = { ...namedTokens(map), ...namedTokens(config) };
  const contents = [...Object.values(named), ...listedTokens(map), ...listedTokens(config)];
  const special = new Set([...ids.special, ...decoderSpecials(config)]);
  for (const content of contents) {
    const id = ids.of(content);
    if (id !== null) special.add(id);
  }
  const idOf = (name: string) => (named[name] === undefined ? null : ids.of(named[name]));
  const bosTokenId = idOf("bos_token");
  const eosTokenId = idOf("eos_token");
  return {
    dir,
    tokenizer,
    config,
    namedTokens: named,
    chatTemplate,
    facts: {
      bosTokenId,
      eosTokenId,
      padTokenId: idOf("pad_token") ?? bosTokenId ?? eosTokenId ?? 0,
      specialTokenIds: [...special].sort((a, b) => a - b),
      tokenizerHash: await hashOfFiles(dir),
      chatTemplateHash: chatTemplate === null ? null : hashBytes(chatTemplate),
    },
  };
}

/** Ids of tokens by their text, without building a tokenizer. */
class TokenIds {
  readonly special: number[] = [];
  readonly #added = new Map<string, number>();
  readonly #vocab: unknown;

  constructor(path: string, tokenizer: JsonObject) {
    this.#vocab = (tokenizer["model"] as JsonObject)["vocab"];
    const added = tokenizer["added_tokens"] ?? [];
    if (!Array.isArray(added)) throw new FormatError(path, '"added_tokens" is not a list');
    for (const token of added as unknown[]) {
      if (!isObject(token) || typeof token["content"] !== "string" || !isTokenId(token["id"]))
        throw new FormatError(path, `an added token is ${JSON.stringify(token)?.slice(0, 100)}`);
      this.#added.set(token["content"], token["id"]);
      if (token["special"] === true) this.special.push(token["id"]);
    }
  }

  of(content: string): number | null {
    const added = this.#added.get(content);
    if (added !== undefined) return added;
    if (Array.isArray(this.#vocab)) {
      const id = this.#vocab.findIndex((entry: unknown) => Array.isArray(entry) && entry[0] === content);
      return id < 0 ? null : id;
    }
    const vocab = isObject(this.#vocab) && Object.hasOwn(this.#vocab, content) ? this.#vocab : {};
    const id = vocab[content];
    return isTokenId(id) ? id : null;
  }
}

/** `*_token` entries: a text, or an object with `content`. */
function namedTokens(config: JsonObject): Record<string, string> {
  const named: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    const content = contentOf(value);
    if (key.endsWith("_token") && content !== null) named[key] = content;
  }
  return named;
}

/** Lists (or, in newer files, maps) of further special tokens. */
function listedTokens(config: JsonObject): string[] {
  return ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"]
    .flatMap((key) => (isObject(config[key]) ? Object.values(config[key]) : (config[key] ?? [])))
    .map(contentOf)
    .filter((content) => content !== null);
}

function decoderSpecials(config: JsonObject): number[] {
  const decoder = config["added_tokens_decoder"];
  if (!isObject(decoder)) return [];
  return Object.entries(decoder)
    .filter(([id, token]) => isObject(token) && token["special"] === true && isTokenId(Number(id)))
    .map(([id]) => Number(id));
}

/** The template as Hugging Face finds it: chat_template.jinja, chat_template.json, then tokenizer_config.json. */
async function readChatTemplate(dir: string, config: JsonObject): Promise<string | null> {
  const path = join(dir, "chat_template.jinja");
  const info = await statIfPresent(path);
  if (info !== null && info.size > MAX_TEMPLATE_BYTES)
    throw new FormatError(path, `${info.size} bytes, at most ${MAX_TEMPLATE_BYTES} are read`);
  if (info !== null) return readFile(path, "utf8");
  const beside = await readJsonIfPresent<JsonObject>(join(dir, "chat_template.json"));
  const found = beside?.["chat_template"] ?? config["chat_template"];
  if (found === undefined || found === null) return null;
  if (typeof found === "string") return found;
  const named = Array.isArray(found) ? found.filter(isObject) : [];
  const chosen = named.find((entry) => entry["name"] === "default") ?? named[0];
  if (typeof chosen?.["template"] === "string") return chosen["template"];
  throw new FormatError(dir, "chat_template is neither a text nor a list of {name, template}");
}

async function hashOfFiles(dir: string): Promise<string> {
  const hashes: Record<string, string> = {};
  for (const name of HASHED) {
    const path = join(dir, name);
    if ((await statIfPresent(path)) !== null) hashes[name] = await hashFile(path);
  }
  return hashValue(hashes);
}

function contentOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  return isObject(value) && typeof value["content"] === "string" ? value["content"] : null;
}

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
