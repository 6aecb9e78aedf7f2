/** Which index a view is about; choosing another goes to the same view of that one. */
import type { Site, SiteIndex } from "../../../src/dashboard/site.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { go } from "../navigation.ts";

export interface IndexChoiceProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly address: (id: string) => string;
  /** only these; undefined: all */
  readonly among?: readonly string[];
  readonly label?: string;
}

export function IndexChoice({ site, index, address, among, label = "SAE" }: IndexChoiceProps) {
  const offered = site.indexes.filter(({ id }) => among?.includes(id) ?? true);
  const isManyRuns = new Set(site.indexes.map(({ run }) => run)).size > 1;
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={index.id} onChange={(event) => go(address(event.currentTarget.value))}>
        {offered.map(({ id, title, run }) => (
          <option key={id} value={id}>
            {visibleText(isManyRuns ? `${run}: ${title}` : title)}
          </option>
        ))}
      </select>
    </label>
  );
}
