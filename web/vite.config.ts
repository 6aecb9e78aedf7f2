/**
 * How the page is built: `web/` → `web/dist/`, every address relative, so that it works under any path of any file host;
 * no inlined assets, scripts or styles, so that it works under a strict content security policy.
 */
import { defineConfig } from "vite";

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: "es" },
});
