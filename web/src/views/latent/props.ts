/** What the sheet of a latent, and its sections, are given. */
import type { Site, SiteIndex } from "../../../../src/dashboard/site.ts";
import type { LatentDetail } from "../../data/latent.ts";
import type { Latents } from "../../data/latents.ts";
import type { Level } from "../../parts/heading.tsx";

export interface SheetProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly latents: Latents;
  readonly latent: number;
  /** of its headings */
  readonly level: Level;
}

export interface SectionProps extends SheetProps {
  readonly detail: LatentDetail;
}
