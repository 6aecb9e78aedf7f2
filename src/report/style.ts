/**
 * How the page looks: system fonts, two columns where there is room, dark where the reader's system is, ink on paper.
 * Colours are Okabe and Ito's, darkened for text (contrast at least 4.5 on their ground); shapes and dashes say the same.
 */
export const STYLE = `
:root {
  --ground: #ffffff; --raised: #f5f6f8; --ink: #1b1f24; --soft: #4d5561; --rule: #d5d9df; --grid: #e6e9ed;
  --before: #a8480a; --after: #0b62a4; --home: #4d5561; --prepolish: #6f3fa0;
  --faint: #858e9a; --before-fill: #f0a36b; --after-fill: #8cc1ea; --good: #12683c; --bad: #a4241c; --mark: #ffe08a; --mark-ink: #1b1f24;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --raised: #1e2228; --ink: #e8eaed; --soft: #a9b1bc; --rule: #3a414b; --grid: #2a3038;
    --before: #f2a266; --after: #7cbcf0; --home: #b4bbc5; --prepolish: #c5a3ec;
    --faint: #76808d; --before-fill: #8a4a1c; --after-fill: #1f5f94; --good: #74cf9c; --bad: #ff9d94; --mark: #6b5310; --mark-ink: #fff6d8;
  }
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 3rem; max-width: 76rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
h1 { font-size: clamp(1.6rem, 1.1rem + 2.4vw, 2.5rem); line-height: 1.18; margin: .2rem 0 .8rem; max-width: 30ch; text-wrap: balance; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 3rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .6rem; }
h4 { font-size: .95rem; margin: 1.2rem 0 .4rem; }
p, li, dd { max-width: 72ch; }
p { margin: 0 0 .9rem; }
a { color: var(--after); }
h1 .name { display: inline-block; max-width: 100%; }
.run { color: var(--soft); margin: 0; font-size: .9rem; }
.lead { font-size: 1.1rem; max-width: 64ch; }
nav ol { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: 1rem 0 0; padding: 0; font-size: .9rem; }
nav a { display: inline-block; padding: .15rem 0; text-decoration-color: var(--rule); text-underline-offset: .2em; }
.filter { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: 1rem; }
button { font: inherit; font-size: .9rem; color: var(--ink); background: var(--raised); border: 1px solid var(--rule); border-radius: .35rem; padding: .25rem .7rem; cursor: pointer; }
button[aria-pressed="true"] { background: var(--ink); color: var(--ground); border-color: var(--ink); }
:focus-visible { outline: 2px solid var(--after); outline-offset: 2px; }
.absent { color: var(--soft); font-style: italic; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 3rem; align-items: start; }
.beside h3:first-child { margin-top: 0; }
.grid, .panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.4rem 2rem; align-items: start; }
.grid > figure { display: grid; grid-row: span 3; grid-template: subgrid / minmax(0, 1fr); row-gap: 0; margin: 0; }
figure { margin: 0 0 1.2rem; min-width: 0; }
figcaption { font-size: .9rem; margin-bottom: .5rem; line-height: 1.45; max-width: 76ch; }
.title { color: var(--ink); }
.caption { color: var(--soft); }
.key { color: var(--soft); white-space: normal; }
.key svg { width: .9em; height: .9em; vertical-align: -.08em; overflow: visible; }
details { font-size: .9rem; margin: .4rem 0; }
summary { cursor: pointer; color: var(--soft); padding: .15rem 0; width: fit-content; }
summary:hover { color: var(--ink); }
.reasons { list-style: none; padding: 0; margin: 0; }
.reasons li { margin: 0 0 .7rem; }
.badge { display: inline-block; font-size: .82rem; font-weight: 600; border: 1px solid currentColor; border-radius: .3rem; padding: 0 .4rem; }
.badge.fits { color: var(--good); } .badge.fails { color: var(--bad); } .badge.borderline { color: var(--before); }
b.resampling { color: var(--soft); } b.rollback, b.incident { color: var(--bad); }

.scroll { overflow-x: auto; margin: .5rem 0 1rem; max-width: 100%; position: relative; }
table { border-collapse: collapse; font-size: .88rem; line-height: 1.35; }
th, td { padding: .28rem .75rem .28rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; } tbody th { font-weight: 400; } th.text, td.text, tbody th { text-align: left; }
thead th { vertical-align: bottom; border-bottom: 1px solid var(--ink); white-space: normal; min-width: 3.2rem; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
td small { display: block; color: var(--soft); font-size: .8em; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.small { font-size: .82rem; margin: .3rem 0 .2rem; }
.context { display: inline-block; min-width: min(20rem, 55vw); max-width: 44rem; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--soft); }
mark { background: var(--mark); color: var(--mark-ink); border-radius: .2em; padding: .05em .15em; font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .35rem 1.2rem; font-size: .92rem; }
dt { font-weight: 600; overflow-wrap: anywhere; max-width: 16rem; } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; white-space: normal; }
pre { font: .82rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; background: var(--raised); padding: .9rem; overflow-x: auto; border-radius: .35rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--soft); font-size: .88rem; }

.chart { display: block; width: 100%; max-width: 27rem; height: auto; overflow: visible; font-size: 11.5px; }
.beside .chart { max-width: 31rem; }
.chart text { fill: var(--ink); }
.axis path { stroke: var(--soft); fill: none; } .axis text { fill: var(--soft); }
.axis path.grid, path.grid { stroke: var(--grid); fill: none; }
.axis .what { font-style: italic; }
.heading { font-weight: 600; }
.value { fill: var(--soft); }
.reference path, path.reference { stroke: var(--ink); stroke-dasharray: 2 3; fill: none; } .reference text { fill: var(--soft); }
.join { stroke: var(--soft); stroke-width: 1; fill: none; }
.mark { stroke-width: 1.8; }
.mark.home { fill: var(--ground); stroke: var(--home); } .mark.before { fill: var(--before); stroke: var(--ground); stroke-width: 1; }
.mark.after { fill: var(--after); stroke: var(--ground); stroke-width: 1; } .mark.prepolish { fill: var(--ground); stroke: var(--prepolish); }
.whisker { fill: none; stroke-width: 2; } .whisker.home { stroke: var(--home); } .whisker.before { stroke: var(--before); }
.whisker.after { stroke: var(--after); } .whisker.prepolish { stroke: var(--prepolish); } .whisker.over { stroke: var(--ink); stroke-width: 1.5; }
.span { fill: none; stroke-width: 5; } .span.before { stroke: var(--before); } .span.after { stroke: var(--after); }
.beyond path { fill: var(--before); } .beyond.after path { fill: var(--after); } .beyond.home path { fill: var(--home); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.line.after { stroke: var(--after); } .line.before { stroke: var(--before); stroke-dasharray: 5 3; } .line.home { stroke: var(--home); stroke-dasharray: 1.5 3.5; }
.line.neutral { stroke: var(--ink); stroke-width: 1.2; } .dot.neutral { fill: var(--ink); } .chart .name.neutral { fill: var(--ink); }
.line.faint { stroke: var(--faint); stroke-width: 1.3; }
.dot.after { fill: var(--after); } .dot.before { fill: var(--before); } .dot.home { fill: var(--home); }
.band { stroke: none; opacity: .25; } .band.after { fill: var(--after); }
.chart .name { font-weight: 600; } .chart .name.after { fill: var(--after); } .chart .name.before { fill: var(--before); } .chart .name.home { fill: var(--home); }
.halo, .beyond text { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; stroke-linejoin: round; }
.moment path { stroke: var(--rule); fill: none; } .moment text { fill: var(--soft); font-weight: 600; }
.moment.rollback path, .moment.incident path { stroke: var(--bad); } .moment.rollback text, .moment.incident text { fill: var(--bad); }
.step { stroke-width: 1.6; } .step.before { stroke: var(--before); fill: none; stroke-dasharray: 4 2.5; } .step.after { stroke: var(--after); fill: var(--after-fill); fill-opacity: .35; }
.bar.neutral { fill: var(--soft); } .bar.faint { fill: var(--faint); } .bar.home { fill: var(--home); } .bar.before { fill: var(--before-fill); stroke: var(--before); } .bar.after { fill: var(--after-fill); stroke: var(--after); }
.density { fill: var(--after); } .d0 { opacity: .16; } .d1 { opacity: .3; } .d2 { opacity: .45; } .d3 { opacity: .62; } .d4 { opacity: .8; } .d5 { opacity: 1; }
.single { fill: none; stroke: var(--before); stroke-width: 1.5; }

@media (max-width: 34rem) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .7rem; }
}
@media print {
  :root {
    --ground: #ffffff; --raised: #ffffff; --ink: #000000; --soft: #404040; --rule: #bbbbbb; --grid: #dddddd;
    --before: #a8480a; --after: #0b62a4; --home: #404040; --prepolish: #6f3fa0;
    --faint: #858e9a; --before-fill: #f0a36b; --after-fill: #8cc1ea; --good: #12683c; --bad: #a4241c; --mark: #ffe08a; --mark-ink: #000000;
  }
  html { color-scheme: light; font-size: 9.5pt; }
  body { max-width: none; padding: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav, details.numbers { display: none; }
  h2, h3, h4, figcaption { break-after: avoid; } figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } td, th { white-space: normal; padding-right: .5rem; }
  .grid, .panels { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem; }
  pre { white-space: pre-wrap; }
}
`;
