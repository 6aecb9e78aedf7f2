/** Numbers as people read them: a true minus, thin spaces between thousands, as many digits as mean something. */

/** What stands where there is no number. */
export const ABSENT = "–";

const MINUS = "−";
/** narrow and unbreakable */
const THIN = "\u202f";

/** 20136 → "20 136" */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? ABSENT : grouped(Math.round(value).toString());
}

/** A fixed number of decimals. */
export function fixed(value: number | null | undefined, decimals: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  const text = value.toFixed(decimals);
  return grouped(Number(text) === 0 ? text.replace("-", "") : text);
}

/** A difference, its sign always shown. */
export function signed(value: number | null | undefined, decimals: number): string {
  const text = fixed(value, decimals);
  return typeof value === "number" && value > 0 ? `+${text}` : text;
}

/** Four significant digits, or so many, whole numbers as they are; very small and very large ones as powers of ten. */
export function short(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const [digits, exponent] = value.toExponential(2).split("e");
    return `${grouped(digits)} × ${powerOfTen(Number(exponent))}`;
  }
  if (Number.isInteger(value) || size >= 1000) return grouped(Math.round(value).toString());
  return grouped(value.toPrecision(digits));
}

/** A measured share: 0.4321 → "43.2 %", 0.00042 → "0.042 %", 0.0003 → "0.030 %" */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return ABSENT;
  const value = 100 * share;
  const size = Math.abs(value);
  if (size >= 99.95 || value === 0) return `${grouped(Math.round(value).toString())}${THIN}%`;
  const decimals = size >= 10 ? 1 : size >= 1 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(size)));
  return `${grouped(value.toFixed(decimals))}${THIN}%`;
}

/** A share that somebody chose: 0.001 → "0.1 %" */
export function roundPercent(share: number): string {
  return `${grouped(Number((100 * share).toPrecision(6)).toString())}${THIN}%`;
}

/** −3 → "10⁻³" */
export function powerOfTen(exponent: number): string {
  return `10${[...String(exponent)].map((digit) => SUPERSCRIPT[digit]).join("")}`;
}

const SUPERSCRIPT: Readonly<Record<string, string>> = Object.fromEntries(
  [..."0123456789-"].map((digit, i) => [digit, "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"[i]]),
);

/** "a", "a and b", "a, b and c" */
export function listOf(words: readonly (string | number)[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** "1 token", "3 tokens" */
export function counted(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** Groups of three in the whole part from 1000 on. */
function grouped(digits: string): string {
  const [whole, fraction] = digits.replace("-", MINUS).split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
}
