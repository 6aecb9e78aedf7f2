/**
 * How the page is built: `web/` → `web/dist/`, every address relative, so that it works under any path of any file host;
 * no inlined assets, scripts or styles, so that it works under a strict content security policy. `npm run page` serves it
 * from its sources, with data and live answers from a `lapidary serve` on its usual port, or from the address in
 * LAPIDARY_SITE.
 */
import { defineConfig, type ProxyOptions } from "vite";

const site = process.env.LAPIDARY_SITE ?? "http://127.0.0.1:7468";
/** The server answers its own page alone, so the page's origin is left out of what is passed on. */
const passedOn: ProxyOptions = {
  target: site,
  changeOrigin: true,
  configure: (proxy) => proxy.on("proxyReq", (request) => request.removeHeader("origin")),
};

export default defineConfig({
  root: import.meta.dirname,
  server: { host: "127.0.0.1", proxy: { "/data": passedOn, "/api": passedOn } },
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
