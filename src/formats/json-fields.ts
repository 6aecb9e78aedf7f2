/**
 * Typed access to JSON that others wrote: a key that is missing without a default, or of another type, is an error that
 * names file and key.
 */
import { FormatError } from "../errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** Typed access to a JSON object; a wrong type is an error that names key and file. */
export class JsonFields {
  readonly #file: string;
  readonly #json: JsonObject;

  constructor(file: string, json: JsonObject) {
    this.#file = file;
    this.#json = json;
  }

  has(key: string): boolean {
    return this.#json[key] !== undefined;
  }

  /** As it stands. */
  value(key: string): unknown {
    return this.#json[key];
  }

  entries(): [string, unknown][] {
    return Object.entries(this.#json);
  }

  text(key: string): string {
    const value = this.#json[key];
    if (typeof value !== "string") this.#wrong(key, "a string");
    return value;
  }

  number(key: string, absent?: number): number {
    const value = this.#json[key] ?? absent;
    if (typeof value !== "number" || !Number.isFinite(value)) this.#wrong(key, "a number");
    return value;
  }

  dimension(key: string, absent?: number): number {
    const value = this.#json[key] ?? absent;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 2 ** 31)
      this.#wrong(key, "a positive integer");
    return value;
  }

  flag(key: string, absent?: boolean): boolean {
    const value = this.#json[key] ?? absent;
    if (typeof value !== "boolean") this.#wrong(key, "true or false");
    return value;
  }

  oneOf<T extends string>(key: string, allowed: readonly T[], absent: T): T {
    const value = this.#json[key] === undefined ? absent : this.#json[key];
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) this.#wrong(key, `one of ${allowed.join(", ")}`);
    return found;
  }

  /** An object; an absent one is empty. */
  object(key: string): JsonObject {
    const value = this.#json[key] ?? {};
    if (!isObject(value)) this.#wrong(key, "an object");
    return value;
  }

  textOrNull(key: string): string | null {
    const value = this.#json[key] ?? null;
    if (value !== null && typeof value !== "string") this.#wrong(key, "a string");
    return value;
  }

  /** Strictly increasing widths up to `dSae`. */
  widths(key: string, dSae: number): number[] {
    const value = this.#json[key];
    const isIncreasing =
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((w, i) => Number.isInteger(w) && w > (i === 0 ? 0 : value[i - 1]) && w <= dSae);
    if (!isIncreasing) this.#wrong(key, `strictly increasing integers up to d_sae = ${dSae}`);
    return value;
  }

  #wrong(key: string, expected: string): never {
    throw new FormatError(this.#file, `"${key}" is ${shown(this.#json[key])}, expected ${expected}`);
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as an error shows it. */
export function shown(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value).slice(0, 80);
}
