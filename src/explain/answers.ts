/**
 * From what a model wrote to a value, or a failure with a reason: lenient in form, strict in content. What cannot be read
 * is never guessed at, and never scored.
 */
import type { ChatAnswer, TokenLogprob } from "./chat.ts";
import { brief } from "./completion.ts";
import { EXPLANATION_MARK } from "./prompts.ts";

/** A value, or why there is none. */
export type Parsed<T> = { readonly value: T } | { readonly failure: string };

/** Longest explanation that is taken for one, in characters. */
const MAX_EXPLANATION = 500;

/** The text after the last `EXPLANATION:`, which stands on one line. */
export function parseExplanation(answer: ChatAnswer): Parsed<string> {
  if (answer.finish === "refusal") return { failure: `refused: ${brief(answer.text)}` };
  const cut = answer.finish === "length" ? ": it was cut off, allow longer answers" : "";
  const at = answer.text.toUpperCase().lastIndexOf(EXPLANATION_MARK.slice(0, -1));
  if (answer.text.trim() === "") return { failure: `an empty answer${cut}` };
  const found = at < 0 ? null : /^EXPLANATION\W*?:\W*?\s*([^\n]*)/i.exec(answer.text.slice(at));
  if (found === null) return { failure: `no line that begins with ${EXPLANATION_MARK}${cut}` };
  if (cut !== "") return { failure: `its explanation was cut off, allow longer answers` };
  const tooLong = (length: number) => ({
    failure: `an explanation of ${length} characters, at most ${MAX_EXPLANATION} are taken`,
  });
  if (found[1].length > 2 * MAX_EXPLANATION) return tooLong(found[1].length);
  const text = found[1].replaceAll(/\p{Cc}/gu, " ").replace(/^[\s*_[\]>]+|[\s*_]+$/g, "");
  const bare = /^(["“'])(.*)["”']$/.exec(text);
  const explanation = (bare !== null && !bare[2].includes(bare[1]) ? bare[2] : text).trim();
  if (!/\p{L}|\p{N}|\p{S}|\p{P}/u.test(explanation)) return { failure: "an empty explanation" };
  if (explanation.length > MAX_EXPLANATION) return tooLong(explanation.length);
  return { value: explanation };
}

/** A judge's answer to one text. */
export interface Verdict {
  readonly says: boolean;
  /** P(1) / (P(0) + P(1)) at its answer; null: no log-probabilities */
  readonly probability: number | null;
}

/** The last array of 0 and 1 (or false and true) in the answer, which must have exactly `n`. */
export function parseVerdicts(answer: ChatAnswer, n: number): Parsed<Verdict[]> {
  if (answer.finish === "refusal") return { failure: `refused: ${brief(answer.text)}` };
  const arrays = [
    ...answer.text.matchAll(/\[\s*(?:0|1|true|false)(?:\s*,\s*(?:0|1|true|false))*\s*,?\s*\]/gi),
  ];
  const last = arrays.at(-1);
  if (last === undefined) {
    if (answer.text.trim() === "")
      return {
        failure: `an empty answer${answer.finish === "length" ? ": it was cut off, allow longer answers" : ""}`,
      };
    return { failure: "no array of 0 and 1 in the answer" };
  }
  const items = [...last[0].matchAll(/0|1|true|false/gi)];
  if (items.length !== n) return { failure: `${items.length} answers to ${n} texts` };
  const probabilityAt = probabilities(answer);
  return {
    value: items.map((item) => ({
      says: item[0] === "1" || item[0].toLowerCase() === "true",
      probability: probabilityAt(last.index + item.index),
    })),
  };
}

/** From a place in the answer's text, in UTF-16 units, to the probability of a 1 there. */
function probabilities({ text, logprobs }: ChatAnswer): (at: number) => number | null {
  if (logprobs === null || logprobs.map(({ token }) => token).join("") !== text) return () => null;
  const starts = new Map<number, TokenLogprob>();
  let at = 0;
  for (const token of logprobs) {
    const leading = token.token.length - token.token.trimStart().length;
    starts.set(at + leading, token);
    at += token.token.length;
  }
  return (place) => {
    const token = starts.get(place);
    if (token === undefined || !isDigit(token.token)) return null;
    const likely = token.alternatives.some((other) => other.token === token.token)
      ? token.alternatives
      : [token, ...token.alternatives];
    const mass = (digit: string) =>
      likely.reduce((sum, { token, logprob }) => (token.trim() === digit ? sum + Math.exp(logprob) : sum), 0);
    const [zero, one] = [mass("0"), mass("1")];
    return zero + one > 0 ? one / (zero + one) : null;
  };
}

function isDigit(token: string): boolean {
  return token.trim() === "0" || token.trim() === "1";
}
