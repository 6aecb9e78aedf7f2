/**
 * How the page is built: `web/` → `web/dist/`, every address relative, so that it works under any path of any file host;
 * no inlined assets, scripts or styles, so that it works under a strict content security policy. `npm run page` serves it
 * from its sources, with data and live answers from a `lapidary serve` on its usual port, or from the address in
 * LAPIDARY_SITE.
 */
import { defineConfig, type Plugin, type ProxyOptions } from "vite";
import { PAGE_POLICY } from "../src/dashboard/page-policy.ts";

const site = process.env.LAPIDARY_SITE ?? "http://127.0.0.1:7468";
/** The server answers its own page alone, so the page's origin is left out of what is passed on. */
const passedOn: ProxyOptions = {
  target: site,
  changeOrigin: true,
  configure: (proxy) => proxy.on("proxyReq", (request) => request.removeHeader("origin")),
};

/** Held to it by any file host, whatever headers that sends; not while the page is worked on, when Vite adds scripts. */
const policy: Plugin = {
  name: "page-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: PAGE_POLICY },
      injectTo: "head-prepend",
    },
  ],
};

export default defineConfig({
  plugins: [policy],
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
