/** A document to tokens with roles: text as it is, chats through the template. Refuses a second BOS. */
import { DataError } from "../errors.ts";
import { ChatRenderer } from "./chat.ts";
import { ChatTemplate } from "./chat-template.ts";
import type { DocumentContent } from "./document.ts";
import { tokenRoles } from "./token-roles.ts";
import { Tokenizer } from "./tokenizer.ts";
import type { TokenizerFolder } from "./tokenizer-folder.ts";
import { ROLES } from "./windows.ts";

export interface EncodedDocument {
  readonly tokenIds: ArrayLike<number>;
  /** index into ROLES, one a token */
  readonly roles: Uint8Array;
}

const TEMPLATE = ROLES.indexOf("template");

export class DocumentEncoder {
  readonly tokenizer: Tokenizer;
  readonly #folder: TokenizerFolder;
  #renderer: ChatRenderer | undefined;

  constructor(folder: TokenizerFolder) {
    this.#folder = folder;
    this.tokenizer = new Tokenizer(folder);
  }

  /** @throws {DataError} the template refuses, there is none, or BOS stands twice */
  encode(document: DocumentContent): EncodedDocument {
    if (document.messages === undefined) {
      const tokenIds = this.tokenizer.encode(document.text);
      this.#refuseAdjacentBos(tokenIds);
      return { tokenIds, roles: new Uint8Array(tokenIds.length).fill(ROLES.indexOf("text")) };
    }
    const { messages, generationPrompt } = document;
    const segments = this.#chats().render(messages, { generationPrompt });
    // The template writes BOS itself, so the tokenizer must not.
    const tokenIds = this.tokenizer.encode(segments.map((segment) => segment.text).join(""));
    const roles = tokenRoles(this.tokenizer, segments, tokenIds);
    this.#refuseAdjacentBos(tokenIds);
    this.#refuseSecondTemplateBos(tokenIds, roles);
    return { tokenIds, roles };
  }

  #chats(): ChatRenderer {
    if (this.#renderer === undefined) {
      const { chatTemplate, dir, namedTokens } = this.#folder;
      if (chatTemplate === null)
        throw new DataError(`${dir}: the tokenizer has no chat template, so chats cannot be rendered`, {
          hint: "use an instruction-tuned model's folder, or add chat_template.jinja to this one",
        });
      this.#renderer = new ChatRenderer(new ChatTemplate(chatTemplate, namedTokens));
    }
    return this.#renderer;
  }

  #refuseAdjacentBos(ids: readonly number[]): void {
    const bos = this.#folder.facts.bosTokenId;
    for (let i = 1; i < ids.length; i++)
      if (bos !== null && ids[i] === bos && ids[i - 1] === bos)
        throw new DataError(`a second BOS (token ${bos}) follows the first at position ${i}`, {
          hint: "template and tokenizer must not both add one; look at bos_token in the chat template",
        });
  }

  #refuseSecondTemplateBos(ids: readonly number[], roles: Uint8Array): void {
    const bos = this.#folder.facts.bosTokenId;
    const count = ids.filter((id, i) => id === bos && roles[i] === TEMPLATE).length;
    if (bos !== null && count > 1)
      throw new DataError(
        `the chat template writes BOS (token ${bos}) ${count} times, expected at most once`,
        {
          hint: "a second BOS in a chat distorts its activations; correct the template",
        },
      );
  }
}
