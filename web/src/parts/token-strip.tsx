/**
 * Tokens in a row, shaded by a value: the heat map of an example or of typed text. A list box with one stop for the Tab
 * key; the arrow keys go from token to token, and each says its value. Enter or a click picks one, where picking means
 * something.
 */
import { useRef, useState } from "preact/hooks";
import { short } from "../../../src/report/numbers.ts";
import { quotedToken, tokenText } from "./token-text.ts";

export interface TokenStripProps {
  readonly label: string;
  readonly tokens: readonly string[];
  /** one a token; 0 and null are not shaded */
  readonly values: readonly (number | null)[];
  /** the value of the strongest shade */
  readonly most: number;
  /** what a value is, e.g. "activation" */
  readonly what: string;
  /** what else is to be said of each token */
  readonly notes?: readonly string[];
  /** the token that all is about */
  readonly at?: number;
  /** which colour */
  readonly tone?: "act" | "error";
  readonly picked?: number | null;
  readonly onPick?: (token: number) => void;
  /** true: a line ends where the text's lines end */
  readonly keepLines?: boolean;
}

export function TokenStrip(props: TokenStripProps) {
  const {
    label,
    tokens,
    values,
    most,
    what,
    at,
    tone = "act",
    picked = null,
    onPick,
    notes,
    keepLines = false,
  } = props;
  const strip = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState(picked ?? at ?? 0);
  const stop = Math.min(active, tokens.length - 1);

  const move = (to: number) => {
    const next = Math.min(tokens.length - 1, Math.max(0, to));
    setActive(next);
    (strip.current?.querySelectorAll("[role=option]")[next] as HTMLElement | undefined)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const to = { ArrowRight: stop + 1, ArrowLeft: stop - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to !== undefined) move(to);
    else if ((event.key === "Enter" || event.key === " ") && onPick !== undefined) onPick(stop);
    else return;
    event.preventDefault();
  };

  return (
    <div
      class={`strip ${tone}`}
      role="listbox"
      aria-label={label}
      aria-orientation="horizontal"
      ref={strip}
      onKeyDown={onKeyDown}
    >
      {tokens.map((token, i) => {
        const value = values[i] ?? null;
        const note = notes?.[i] ?? "";
        const said = `${what} ${value === null ? "none" : short(value)}${note === "" ? "" : `, ${note}`}`;
        const share = value === null || most <= 0 ? 0 : Math.min(1, Math.max(0, value / most));
        return (
          <>
            {/* biome-ignore lint/a11y/useKeyWithClickEvents: the list box has the keys */}
            <span
              key={i}
              class={`token${i === at ? " at" : ""}${onPick === undefined ? "" : " picks"}`}
              role="option"
              tabIndex={i === stop ? 0 : -1}
              aria-selected={i === (onPick === undefined ? at : picked)}
              aria-label={`${quotedToken(token)}, ${said}`}
              data-tip={`${quotedToken(token)}  ${said}`}
              style={share > 0 ? { "--share": `${(100 * share).toFixed(1)}%` } : undefined}
              onFocus={() => setActive(i)}
              onClick={onPick === undefined ? undefined : () => onPick(i)}
            >
              {tokenText(token)}
            </span>
            {keepLines && token.includes("\n") && <br />}
          </>
        );
      })}
    </div>
  );
}
