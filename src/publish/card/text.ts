/** Words and numbers as a card writes them. */

/** Text from outside set as code, so that it cannot change the card's structure. */
export function code(text: string): string {
  return `\`${text.replace(/[`\n\r|]/g, " ").trim() || "?"}\``;
}

/** Text from outside in a heading or a sentence: nothing in it is Markdown or HTML. */
export function plain(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .trim()
    .replace(/[\\`*_[\]<>|#]/g, "\\$&");
}

/** Four significant digits. */
export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? "undefined" : value.toPrecision(4);
}

/** With its sign. */
export function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(2)}`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export function thousands(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}

/** `1 layer`, `2 layers`. */
export function plural(n: number, noun: string): string {
  return `${thousands(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** Ascending whole numbers, runs of three or more as `0–11`. */
export function ranges(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (sorted[end + 1] === sorted[end] + 1) end++;
    if (end - i >= 2) parts.push(`${sorted[i]}–${sorted[end]}`);
    else parts.push(...sorted.slice(i, end + 1).map(String));
    i = end + 1;
  }
  return parts.join(", ");
}

/** A table; cells must hold no bare `|`. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(headings), line(headings.map(() => "---")), ...rows.map(line)].join("\n");
}

export function packingText(packing: string): string {
  return packing === "saelens" ? "documents concatenated" : "one document a window";
}

/** Parts of a section, those that have nothing to say left out. */
export function joined(parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join("\n\n");
}
