/** Where it all comes from. */
import type { RunOverview } from "../../../../src/dashboard/overview.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { Heading, type Level } from "../../parts/heading.tsx";

export function Provenance({ run, level }: { run: RunOverview; level: Level }) {
  const { recipe, files, software, machine, seeds } = run.provenance;
  const lists = [
    { title: "Software", entries: Object.entries(software) },
    { title: "Machine", entries: Object.entries(machine) },
    { title: "Seeds", entries: seeds.map(({ what, seed }) => [what, String(seed)] as const) },
    { title: "Files (sha-256)", entries: files.map(({ what, sha256 }) => [what, sha256] as const) },
    {
      title: "Held-out sets",
      entries: run.sets.map(({ name, sources }) => [name, sources.join(", ")] as const),
    },
  ].filter(({ entries }) => entries.length > 0);
  return (
    <section>
      <Heading level={level}>Where this comes from</Heading>
      {lists.map(({ title, entries }) => (
        <details key={title}>
          <summary>{title}</summary>
          <dl class="entries">
            {entries.map(([name, value]) => (
              <div key={name}>
                <dt>{visibleText(name)}</dt>
                <dd>{visibleText(value)}</dd>
              </div>
            ))}
          </dl>
        </details>
      ))}
      <details>
        <summary>Recipe</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard */}
        <pre tabIndex={0}>{visibleText(recipe)}</pre>
      </details>
    </section>
  );
}
