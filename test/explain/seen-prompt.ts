/** What a prompt of ours asks, as a model that knows English would read it; and a model that knows the planted rule. */

export type SeenPrompt =
  | { readonly kind: "explain"; readonly text: string; readonly texts: readonly string[] }
  | {
      readonly kind: "detection" | "fuzzing";
      readonly text: string;
      readonly pattern: string;
      readonly texts: readonly string[];
    };

export function promptOf(messages: readonly { readonly content: string }[]): SeenPrompt {
  const [system, user] = messages.map(({ content }) => content);
  const texts = [...user.matchAll(/^\d+\. (.*)$/gm)].map((match) => match[1]);
  const text = `${system}\n${user}`;
  const pattern = /^Pattern: (.*)$/m.exec(user)?.[1];
  if (pattern === undefined) return { kind: "explain", text, texts };
  return { kind: system.includes("are marked") ? "fuzzing" : "detection", text, pattern, texts };
}

/** Says which word is marked most, and finds that word again: right wherever a latent fires on a word. */
export function knowsTheRule(prompt: SeenPrompt): string {
  if (prompt.kind === "explain") {
    const counts = new Map<string, number>();
    for (const text of prompt.texts)
      for (const word of markedWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
    const [word] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    return `The marked word is the same each time.\nEXPLANATION: the word ${word}`;
  }
  const word = /(\w+)"?$/.exec(prompt.pattern)?.[1] ?? "";
  return JSON.stringify(
    prompt.texts.map((text) =>
      (prompt.kind === "fuzzing" ? markedWords(text) : text.replaceAll(/[«»]/g, "").split(/\W+/)).includes(
        word,
      )
        ? 1
        : 0,
    ),
  );
}

function markedWords(text: string): string[] {
  return [...text.matchAll(/«([^»]*)»/g)].flatMap((match) => match[1].trim().split(/\W+/));
}
