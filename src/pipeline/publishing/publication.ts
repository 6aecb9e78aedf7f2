/**
 * `verification.json`: the revision that was published, and that its SAEs, downloaded again, are those that were measured.
 * It is about the SAEs as they were saved then; once one of them is another, it counts no more.
 */
import { hashValue } from "../../storage/hash.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { RunContext } from "../context.ts";
import { exportedId } from "../stages/export.ts";
import { exportRecord, VERIFY_TOLERANCE } from "../stages/verify.ts";

export interface Publication {
  readonly format: "lapidary-publication";
  readonly version: 1;
  /** owner/name on the hub */
  readonly repository: string;
  /** absent: main */
  readonly branch?: string;
  /** the commit that was downloaded and verified */
  readonly revision: string;
  /** largest relative difference of a metric (absolute below 1) */
  readonly tolerance: number;
  /** `files`: name → SHA-256 */
  readonly layers: readonly {
    readonly layer: number;
    readonly id: string;
    readonly files: Readonly<Record<string, string>>;
  }[];
}

/** What is to be written once the SAEs of `layers` are found verified at a revision. */
export function publicationOf(
  context: RunContext,
  layers: readonly number[],
  { repository, branch = "main", revision }: Pick<Publication, "repository" | "branch" | "revision">,
): Publication {
  return {
    format: "lapidary-publication",
    version: 1,
    repository,
    ...(branch !== "main" && { branch }),
    revision,
    tolerance: VERIFY_TOLERANCE,
    layers: layers.map((layer) => ({
      layer,
      id: exportedId(context, layer),
      files: exportRecord(context, layer).files,
    })),
  };
}

/** The run's publication, if it is of the SAEs that `layers` have now. */
export async function readPublication(
  context: RunContext,
  layers: readonly number[],
): Promise<Publication | null> {
  const read = await readJsonIfPresent<Publication>(context.dir.publication);
  if (read === undefined || read?.format !== "lapidary-publication" || read.version !== 1) return null;
  return hashValue(read) === hashValue(publicationOf(context, layers, read)) ? read : null;
}

/** Was it published there? */
export function isAt(
  publication: Publication,
  place: { readonly repository: string; readonly branch?: string },
): boolean {
  const branchOf = ({ branch = "main" }: { readonly branch?: string }) => branch;
  return publication.repository === place.repository && branchOf(publication) === branchOf(place);
}
