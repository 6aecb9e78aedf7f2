/** `npm run bench -- …`: the command `lapidary bench …` from the sources; or, beginning with `peers`, the peer comparison. */
import { runCommandLine } from "../src/cli/program.ts";
import { peers } from "./peers/main.ts";

const [first, ...rest] = process.argv.slice(2);
process.exitCode =
  first === "peers" ? await peers(rest) : await runCommandLine(["bench", ...process.argv.slice(2)]);
