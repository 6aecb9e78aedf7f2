/** `npm run bench -- …`: the command `lapidary bench …` from the sources; or, beginning with `peers`, the peer comparison; or, with `page`, how fast the page is. */
import { runCommandLine } from "../src/cli/program.ts";
import { page } from "./page/main.ts";
import { peers } from "./peers/main.ts";

const [first, ...rest] = process.argv.slice(2);
const others: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = { peers, page };
process.exitCode = Object.hasOwn(others, first ?? "")
  ? await others[first](rest)
  : await runCommandLine(["bench", ...process.argv.slice(2)]);
