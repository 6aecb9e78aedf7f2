/** What the sheet of a latent, and its sections, are given. */
import type { SiteIndex } from "../../../../src/dashboard/site.ts";
import type { LatentDetail } from "../../data/latent.ts";
import type { Level } from "../../parts/heading.tsx";

export interface SheetProps {
  readonly index: SiteIndex;
  readonly latent: number;
  readonly detail: LatentDetail;
  /** of its headings */
  readonly level: Level;
}
