/** A comparison of two indexes: what became of each latent of the one in the other. */
import { MATCH_COLUMNS, type SiteComparison } from "../../../src/dashboard/site.ts";
import { Once } from "./once.ts";
import { readColumns } from "./reader.ts";
import { dataUrl } from "./site.ts";

/** Row i is latent i of `a`; NaN for null. */
export type Matches = Readonly<Record<(typeof MATCH_COLUMNS)[number]["name"], Float64Array>>;

const loaded = new Once<Matches>(async (path) => {
  const { columns } = await readColumns({ url: dataUrl(path) });
  for (const { name } of MATCH_COLUMNS)
    if (!(columns[name] instanceof Float64Array)) throw new Error(`${path} has no column of numbers ${name}`);
  return columns as unknown as Matches;
});

export const loadMatches = ({ path }: SiteComparison): Promise<Matches> => loaded.get(path);
