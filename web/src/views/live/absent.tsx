/** Why nothing can be typed or steered here. */
import type { Site, SiteIndex } from "../../../../src/dashboard/site.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";

/** null: it can. */
export function whyNotLive(site: Site, index: SiteIndex): string | null {
  if (site.live === null) return site.notLive ?? "This is a copy of the tables without a model.";
  if (!site.live.indexes.includes(index.id))
    return `The SAE of ${index.title} cannot be run here; choose another.`;
  return null;
}

export function NotLive({ why }: { why: string }) {
  return (
    <div class="not-live">
      <p>
        <strong>Not here.</strong> {visibleText(why)}
      </p>
      <p>
        Where the run lies, <code>lapidary serve</code> shows this page with the model beside it.
      </p>
    </div>
  );
}
