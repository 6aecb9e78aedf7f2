/** Light, dark, or what the system says. */
import { useState } from "preact/hooks";
import { applyTheme, readTheme, THEMES, type Theme } from "./use-colours.ts";

export function ThemeChoice() {
  const [theme, setTheme] = useState(readTheme);
  return (
    <label class="theme">
      <span class="unseen">Colours</span>
      <select
        value={theme}
        onChange={(event) => {
          const chosen = event.currentTarget.value as Theme;
          setTheme(chosen);
          applyTheme(chosen);
        }}
      >
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {{ system: "Auto", light: "Light", dark: "Dark" }[name]}
          </option>
        ))}
      </select>
    </label>
  );
}
