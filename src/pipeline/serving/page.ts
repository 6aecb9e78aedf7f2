/** Where the built page lies: `web/dist` in the package. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesUnder, type SiteFile } from "../../dashboard/site-files.ts";
import { StateError } from "../../errors.ts";
import { statIfPresent } from "../../storage/file-error.ts";

const PAGE = fileURLToPath(new URL("../../../web/dist", import.meta.url));

/** @throws {StateError} it has not been built */
export async function pageFiles(folder: string = PAGE): Promise<SiteFile[]> {
  if ((await statIfPresent(join(folder, "index.html"))) === null)
    throw new StateError(`the page is not built: ${join(folder, "index.html")} is missing`, "npm run setup");
  return (await filesUnder(folder)).filter(
    ({ path }) => !path.startsWith("data/") && !path.startsWith("api/"),
  );
}
