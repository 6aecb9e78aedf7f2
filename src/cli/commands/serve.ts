/** `lapidary serve <run>`: a page in the browser with everything a run made, from this machine alone; or as a folder of files. */
import { type Command, Option } from "commander";
import type { ServerEvent } from "../../dashboard/server/server.ts";
import { RecipeError, StateError } from "../../errors.ts";
import type { OpenedSite } from "../../pipeline/serving/site.ts";
import {
  addCommonOptions,
  addThreadsOption,
  type CommonOptions,
  interruptSignal,
  wholeNumber,
} from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { count, formatBytes, formatSeconds } from "../progress.ts";

interface ServeCommandOptions extends CommonOptions {
  readonly port?: number;
  readonly static?: string;
  readonly index: boolean;
  readonly live: boolean;
}

/** Taken if it is free and no other was asked for, so that a page that was left open finds its server again. */
const USUAL_PORT = 7468;

export function addServeCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("serve")))
    .description(
      "look at it: latents, before and after, typing and steering, in the browser; on this machine alone",
    )
    .argument("<run...>", "run folders, or folders of latent indexes; several are shown together")
    .option(
      "--port <n>",
      `port on 127.0.0.1; 0: any that is free (default: ${USUAL_PORT} if it is)`,
      wholeNumber,
    )
    .option("--no-index", "show the indexes there are, make none")
    .option("--no-live", "nothing to type or steer: the model is not opened")
    .addOption(
      new Option("--static <folder>", "write the page and its data there instead, for any file host"),
    )
    .addHelpText("after", HELP)
    .action(serve);
}

const HELP = `
Indexes that a run's finished layers lack are made first (lapidary index). The server answers this machine alone, and no
other web page; it reads and never writes. Ctrl-C stops it.

What --static writes opens from any host of files that answers range requests, as nearly all do, under any path. Opened
as a file:// address it cannot read its data: browsers forbid that.

Examples:
  $ lapidary serve runs/tiny-gemma
  $ lapidary serve runs/tiny-gemma-seed-0 runs/tiny-gemma-seed-1
  $ lapidary serve runs/tiny-gemma --static site`;

async function serve(runs: string[], options: ServeCommandOptions): Promise<void> {
  const isStatic = options.static !== undefined;
  if (isStatic && options.port !== undefined)
    throw new RecipeError("--static writes files, and listens on no port", "leave --port out");
  if ((options.port ?? 0) > 65_535) throw new RecipeError(`no port ${options.port}`, "--port 0 … 65535");
  const output = createOutput(options);
  const signal = interruptSignal();
  const { openSite } = await import("../../pipeline/serving/site.ts");
  const notLive = isStatic
    ? "This is a copy made of files: nothing can be typed or steered. `lapidary serve` can."
    : options.live
      ? undefined
      : "The server was started without the model (--no-live).";
  try {
    const opened = await openSite(runs, {
      index: options.index,
      notLive,
      threads: options.threads,
      signal,
      onEvent: output.event,
    });
    if (options.static !== undefined) await writeStatic(opened, options.static, output, signal);
    else await listen(opened, options.port, output, signal);
  } finally {
    output.clear();
  }
}

async function writeStatic(
  opened: OpenedSite,
  to: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { exportSite } = await import("../../pipeline/serving/export-site.ts");
  output.event({ kind: "begin", unit: "export", title: `write ${to}`, resumed: false });
  const { nFiles, bytes } = await exportSite(opened.files, to, {
    signal,
    onProgress: (progress) => output.event({ kind: "progress", unit: "export", progress }),
  });
  output.result(
    `${to}: ${count(nFiles)} files, ${formatBytes(bytes)}. Put it on any file host that answers range requests.`,
    { folder: to, nFiles, bytes },
  );
}

/** Until Ctrl-C. */
async function listen(
  { site, files, model }: OpenedSite,
  port: number | undefined,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { startServer } = await import("../../dashboard/server/server.ts");
  const start = (wanted: number) =>
    startServer({
      files,
      live: model,
      notLive: site.notLive,
      port: wanted,
      onEvent: (event) => output.event({ kind: "note", message: eventLine(event) }),
    });
  try {
    const server = await start(port ?? USUAL_PORT).catch((error: unknown) => {
      if (port === undefined && error instanceof StateError) return start(0);
      throw error;
    });
    const { indexes, live, notLive } = site;
    output.result(
      [
        `${site.title}: ${server.url}     Ctrl-C stops it`,
        `  ${count(indexes.length)} latent ${indexes.length === 1 ? "index" : "indexes"}; ${live === null ? notLive : `live: ${live.model}`}`,
      ].join("\n"),
      { url: server.url, port: server.port, indexes: indexes.map(({ id }) => id), live: live !== null },
    );
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.close();
  } finally {
    await model?.close();
  }
}

/** What a request said is in it: nothing of that may steer the terminal. */
function eventLine(event: ServerEvent): string {
  return lineOf(event).replace(/\p{Cc}|\p{Bidi_Control}/gu, "\uFFFD");
}

function lineOf(event: ServerEvent): string {
  switch (event.kind) {
    case "refused":
      return `refused (${event.status}): ${event.message}`;
    case "failed":
      return `failed: ${event.message}`;
    default:
      return `${event.kind} ${event.index}, ${formatSeconds(event.seconds)}${event.problem === null ? "" : `: ${event.problem}`}`;
  }
}
