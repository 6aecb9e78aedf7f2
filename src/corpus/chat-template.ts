/**
 * A tokenizer's own Jinja chat template, rendered by Hugging Face's interpreter within limits: a repository's template
 * is a program. The clock is not offered to it, so the same chat gives the same text on any day.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { DataError } from "../errors.ts";
import type { ChatMessage } from "./document.ts";

/** Steps of the interpreter a rendering may take, beside those its messages warrant. */
const MAX_STEPS = 100_000;
const STEPS_PER_MESSAGE = 10_000;
/** Characters a rendering may have, beside twice those of its messages. */
const MAX_EXTRA_CHARACTERS = 256 * 1024;
const MAX_RANGE = 100_000;

/** The faces of the package that are used here; its own types do not resolve under Node's module resolution. */
interface JinjaEnvironment {
  set(name: string, value: unknown): unknown;
}
interface JinjaInterpreter {
  run(program: unknown): { value: unknown };
  evaluate(node: unknown, environment: unknown): unknown;
}
const JinjaEnvironment = Environment as new () => JinjaEnvironment;
const JinjaInterpreter = Interpreter as new (environment: JinjaEnvironment) => JinjaInterpreter;

/** What a template may refer to beside the messages: `bos_token` → `<bos>` … */
export type TemplateTokens = Readonly<Record<string, string>>;

export class ChatTemplate {
  readonly #program: unknown;
  readonly #tokens: TemplateTokens;

  /** @throws {DataError} it is not Jinja as the interpreter knows it */
  constructor(source: string, tokens: TemplateTokens) {
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (cause) {
      throw new DataError(`the chat template cannot be read: ${(cause as Error).message}`, { cause });
    }
    this.#tokens = tokens;
  }

  /**
   * The chat as text; `generationPrompt`: with the beginning of the assistant's answer, which no data set has.
   * @throws {DataError} the template refused the messages, ran too long, or wrote too much
   */
  render(messages: readonly ChatMessage[], { generationPrompt = false } = {}): string {
    const environment = new JinjaEnvironment();
    for (const [name, value] of Object.entries(this.#variables(messages, generationPrompt)))
      environment.set(name, value);
    const contentCharacters = messages.reduce((sum, message) => sum + message.content.length, 0);
    const limits = {
      steps: MAX_STEPS + STEPS_PER_MESSAGE * messages.length,
      characters: MAX_EXTRA_CHARACTERS + 2 * contentCharacters,
    };
    let text: unknown;
    try {
      text = new BoundedInterpreter(environment, limits.steps).run(this.#program).value;
    } catch (cause) {
      if (cause instanceof DataError) throw cause;
      throw new DataError(`the chat template refused: ${(cause as Error).message}`, { cause });
    }
    if (typeof text !== "string") throw new DataError("the chat template gave no text");
    if (text.length > limits.characters)
      throw new DataError(
        `the chat template wrote ${text.length} characters for ${contentCharacters} of messages, at most ${limits.characters} are taken`,
      );
    return text;
  }

  #variables(messages: readonly ChatMessage[], generationPrompt: boolean): Record<string, unknown> {
    return {
      ...this.#tokens,
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: generationPrompt,
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      range: boundedRange,
      raise_exception: (message: unknown) => {
        throw new Error(String(message));
      },
    };
  }
}

/** Counts every node it evaluates, and stops at the limit: loops end, whatever they loop over. */
class BoundedInterpreter extends JinjaInterpreter {
  #left: number;
  readonly #limit: number;

  constructor(environment: JinjaEnvironment, steps: number) {
    super(environment);
    this.#limit = steps;
    this.#left = steps;
  }

  override evaluate(node: unknown, environment: unknown): unknown {
    this.#left -= 1;
    if (this.#left < 0) throw new DataError(`the chat template took more than ${this.#limit} steps`);
    return super.evaluate(node, environment);
  }
}

/** Jinja's `range`, refusing to write out long lists. */
function boundedRange(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!Number.isFinite(length) || step === 0 || length > MAX_RANGE)
    throw new DataError(
      `the chat template asks for range(${start}, ${stop}, ${step}), at most ${MAX_RANGE} long`,
    );
  return Array.from({ length }, (_unused, i) => start + i * step);
}
