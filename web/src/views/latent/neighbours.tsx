/** Latents that are like it: by direction, and by firing together. */

import type { NeighbourRow } from "../../../../src/dashboard/index-rows.ts";
import type { SiteIndex } from "../../../../src/dashboard/site.ts";
import { count, fixed, percent } from "../../../../src/report/numbers.ts";
import { type Latents, loadLatents } from "../../data/latents.ts";
import { Heading } from "../../parts/heading.tsx";
import { useLoaded } from "../../parts/use-loaded.ts";
import { href } from "../../routes.ts";
import { LatentName } from "../latents/columns.tsx";
import type { SheetProps } from "./props.ts";

export function Neighbours(props: SheetProps) {
  const { detail, index, level } = props;
  const names = useLoaded(() => loadLatents(index), index.id);
  const latents = names.state === "here" ? names.value : null;
  const kind = (name: NeighbourRow["kind"]) => detail.neighbours.filter((one) => one.kind === name);
  if (detail.neighbours.length === 0) return null;
  return (
    <section>
      <Heading level={level}>Neighbours</Heading>
      <div class="pair">
        <NeighbourTable
          index={index}
          latents={latents}
          caption="By decoder row"
          heads={["Cosine"]}
          rows={kind("decoder")}
          cells={({ value }) => [fixed(value, 3)]}
        />
        <NeighbourTable
          index={index}
          latents={latents}
          caption="Firing together"
          heads={["Correlation", "Jaccard", "Both"]}
          rows={kind("firing")}
          cells={({ value, jaccard, n_both }) => [fixed(value, 3), percent(jaccard), count(n_both)]}
        />
      </div>
    </section>
  );
}

interface NeighbourTableProps {
  readonly index: SiteIndex;
  /** for their names; null: not read yet */
  readonly latents: Latents | null;
  readonly caption: string;
  readonly heads: readonly string[];
  readonly rows: readonly NeighbourRow[];
  readonly cells: (row: NeighbourRow) => readonly string[];
}

function NeighbourTable({ index, latents, caption, heads, rows, cells }: NeighbourTableProps) {
  if (rows.length === 0) return null;
  return (
    <div class="scroll">
      <table class="neighbours">
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col" class="text">
              Latent
            </th>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.other}>
              <th scope="row" class="text">
                <a href={href("latent", [index.id, row.other])}>{row.other}</a>{" "}
                {latents !== null && <LatentName latents={latents} latent={row.other} />}
              </th>
              {cells(row).map((text, i) => (
                <td key={heads[i]}>{text}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
