/** What was typed, as the tokens that the model reads: BOS, roles, and which positions the SAE is run at. */
import type { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { ROLES } from "../../corpus/windows.ts";
import { DataError } from "../../errors.ts";
import type { LiveInput } from "../live.ts";

/** How an SAE's tokens were made in training, to be made the same here. */
export interface TokenRules {
  /** tokens at most */
  readonly contextSize: number;
  /** of plain texts; a chat template writes its own */
  readonly prependBos: boolean;
  /** ids at whose positions the SAE is not run */
  readonly excludedTokenIds: readonly number[];
}

export interface Prompt {
  readonly tokenIds: readonly number[];
  /** index into ROLES, one a token */
  readonly roles: readonly number[];
  /** the input was longer than the context size: its end is not here */
  readonly truncated: boolean;
}

/**
 * `generationPrompt`: a chat ends with the beginning of the assistant's answer.
 * @throws {DataError} it is empty, cannot be tokenised, or the model has no chat template
 */
export async function promptOf(
  input: LiveInput,
  tokenizer: TokenizerPool,
  { contextSize, prependBos }: TokenRules,
  { generationPrompt = false } = {},
): Promise<Prompt> {
  const place = input.kind === "text" ? "the text" : "the chat";
  const document =
    input.kind === "text" ? { text: input.text } : { messages: input.messages, generationPrompt };
  const [encoded] = await tokenizer.encode([{ ...document, place }]);
  const { bosTokenId } = tokenizer.facts;
  const needsBos =
    input.kind === "text" && prependBos && bosTokenId !== null && encoded.tokenIds[0] !== bosTokenId;
  const tokenIds = [...(needsBos ? [bosTokenId] : []), ...Array.from(encoded.tokenIds)];
  const roles = [...(needsBos ? [ROLES.indexOf("template")] : []), ...encoded.roles];
  if (encoded.tokenIds.length === 0)
    throw new DataError(`${place} has no tokens`, { hint: "type something" });
  return {
    tokenIds: tokenIds.slice(0, contextSize),
    roles: roles.slice(0, contextSize),
    truncated: tokenIds.length > contextSize,
  };
}
