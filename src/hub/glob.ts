/** The path patterns of dataset cards: `*` and `?` within a folder, `**` across folders, `[a-z]` and `{a,b}`. */

const MAX_PATTERN = 512;
const MAX_ALTERNATIVES = 64;

/** Whether `path` fits `pattern`. Time is at most (pattern length) × (path length), whatever the pattern. */
export function matchesGlob(path: string, pattern: string): boolean {
  if (pattern.length > MAX_PATTERN) return false;
  return expandBraces(pattern.replace(/^\.?\//, "")).some((plain) => matchTokens(path, parse(plain)));
}

type Token = { kind: "char" | "set" | "star" | "globstar" | "any"; test: (c: string) => boolean };

function parse(pattern: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    if (c === "*" && pattern[i + 1] === "*") {
      i += 1;
      if (pattern[i + 1] === "/") i += 1; // `**/` also stands for no folder at all
      tokens.push({ kind: "globstar", test: () => true });
    } else if (c === "*") tokens.push({ kind: "star", test: (x) => x !== "/" });
    else if (c === "?") tokens.push({ kind: "any", test: (x) => x !== "/" });
    else if (c === "[" && pattern.indexOf("]", i + 2) > 0) {
      const end = pattern.indexOf("]", i + 2);
      tokens.push({ kind: "set", test: characterSet(pattern.slice(i + 1, end)) });
      i = end;
    } else tokens.push({ kind: "char", test: (x) => x === c });
  }
  return tokens;
}

/** Runs the pattern over the path as a set of states: `reached[j]` = the first j tokens can have eaten what was read. */
function matchTokens(path: string, tokens: readonly Token[]): boolean {
  const repeats = (j: number) => tokens[j].kind === "star" || tokens[j].kind === "globstar";
  const close = (states: boolean[]) => {
    for (let j = 0; j < tokens.length; j++) if (states[j] && repeats(j)) states[j + 1] = true;
    return states;
  };
  let reached = close([true, ...new Array<boolean>(tokens.length).fill(false)]);
  for (const c of path) {
    const next = new Array<boolean>(tokens.length + 1).fill(false);
    for (let j = 0; j < tokens.length; j++) {
      if (!reached[j] || !tokens[j].test(c)) continue;
      next[repeats(j) ? j : j + 1] = true;
    }
    reached = close(next);
  }
  return reached[tokens.length];
}

function characterSet(body: string): (c: string) => boolean {
  const negated = body[0] === "!" || body[0] === "^";
  const members = negated ? body.slice(1) : body;
  return (c) => {
    let found = false;
    for (let i = 0; i < members.length; i++) {
      if (members[i + 1] === "-" && i + 2 < members.length) {
        found ||= c >= members[i] && c <= members[i + 2];
        i += 2;
      } else found ||= c === members[i];
    }
    return found !== negated && c !== "/";
  };
}

function expandBraces(pattern: string): string[] {
  let patterns = [pattern];
  for (;;) {
    const next = patterns.flatMap((text) => {
      const [, before, choices, after] = /^([^{}]*)\{([^{}]*)\}(.*)$/s.exec(text) ?? [];
      return choices === undefined ? [text] : choices.split(",").map((choice) => before + choice + after);
    });
    if (next.length === patterns.length && next.every((text, i) => text === patterns[i])) return patterns;
    if (next.length > MAX_ALTERNATIVES) return patterns;
    patterns = next;
  }
}
