/**
 * The errors Lapidary throws. Every message says what was got and what was wanted; `hint` says what to try.
 * Library code throws these and never prints or exits; the CLI alone turns one into two lines and an exit code.
 */

/** What kind of failure it was; stable, for programs to branch on. */
export type ErrorCode =
  | "SHAPE"
  | "FORMAT"
  | "UNSUPPORTED"
  | "RECIPE"
  | "MODEL"
  | "DATA"
  | "ENGINE"
  | "TRAINING"
  | "STATE"
  | "HUB"
  | "ENDPOINT"
  | "RESOURCES"
  | "VERIFY"
  | "GATE";

/** Base of every error Lapidary throws on purpose. `code` is stable; `hint` is one line of advice. */
export class LapidaryError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** A dimension does not fit: carries what was got and what was expected. */
export class ShapeError extends LapidaryError {
  constructor(
    what: string,
    got: readonly number[] | number,
    expected: readonly number[] | number | string,
    hint?: string,
  ) {
    super("SHAPE", `${what}: got ${show(got)}, expected ${show(expected)}`, { hint });
  }
}

/** Advice where bytes are wrong and nothing better is known. */
const DAMAGED = "the file is damaged or cut short; fetch or write it again";

/** A file's bytes do not say what its format requires. `offset` is in bytes from the start of the file. */
export class FormatError extends LapidaryError {
  readonly file: string;
  readonly offset: number | undefined;

  constructor(
    file: string,
    message: string,
    options: { offset?: number; hint?: string; cause?: unknown } = {},
  ) {
    super(
      "FORMAT",
      `${file}${options.offset === undefined ? "" : ` at byte ${options.offset}`}: ${message}`,
      { ...options, hint: options.hint ?? (options.offset === undefined ? undefined : DAMAGED) },
    );
    this.file = file;
    this.offset = options.offset;
  }
}

/** Something valid that Lapidary does not handle; the hint names what would work. */
export class UnsupportedError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("UNSUPPORTED", message, { hint });
  }
}

/** A recipe or command-line option is wrong. */
export class RecipeError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("RECIPE", message, { hint });
  }
}

/** A language model could not be loaded, cut or run. */
export class ModelError extends LapidaryError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("MODEL", message, options);
  }
}

/** Texts, chats or activations are not what they should be. */
export class DataError extends LapidaryError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("DATA", message, options);
  }
}

/** A compute engine is absent or failed; the message lists every attempt. */
export class EngineError extends LapidaryError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("ENGINE", message, options);
  }
}

/** Training cannot go on (non-finite loss, for instance); names the step, the batch and the last good checkpoint. */
export class TrainingError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("TRAINING", message, { hint });
  }
}

/** State on disk contradicts what is asked of it. */
export class StateError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("STATE", message, { hint });
  }
}

/** The Hugging Face hub (or its cache) could not deliver. */
export class HubError extends LapidaryError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("HUB", message, options);
  }
}

/** A language model's endpoint cannot be used, or does not answer. */
export class EndpointError extends LapidaryError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("ENDPOINT", message, options);
  }
}

/** The machine has less memory or disk than a stage needs, or its file system refused. */
export class ResourceError extends LapidaryError {
  constructor(message: string, hint?: string, cause?: unknown) {
    super("RESOURCES", message, { hint, cause });
  }
}

/** A saved SAE does not reproduce its recorded results. */
export class VerifyError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("VERIFY", message, { hint });
  }
}

/** A layer is below the recipe's gate, and what was asked for needs it above. */
export class GateError extends LapidaryError {
  constructor(message: string, hint?: string) {
    super("GATE", message, { hint });
  }
}

function show(x: readonly number[] | number | string): string {
  return Array.isArray(x) ? `[${x.join(", ")}]` : String(x);
}
