/** Light and dark: the system's choice, or the reader's, remembered where the browser allows. */
import { useEffect, useState } from "preact/hooks";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const CHANGED = "lapidary-colours";
const KEY = "lapidary-theme";

export function readTheme(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}

export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // a browser that keeps nothing: the choice lasts as long as the page
  }
  dispatchEvent(new Event(CHANGED));
}

/** A number that changes whenever the colours do: for what is painted rather than styled. */
export function useColours(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const changed = () => setVersion((before) => before + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", changed);
    addEventListener(CHANGED, changed);
    return () => {
      dark.removeEventListener("change", changed);
      removeEventListener(CHANGED, changed);
    };
  }, []);
  return version;
}
