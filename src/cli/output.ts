/**
 * Where a command's words go. For people: results on stdout, progress and notes on stderr. With `--json`: one JSON
 * object a line on stdout, progress at most once a second, and nothing else.
 */
import type { RunEvent } from "../pipeline/context.ts";
import { printable } from "./printable.ts";
import { ProgressView } from "./progress.ts";

export interface Output {
  readonly json: boolean;
  /** a result: printed for people, or the value as JSON */
  result(text: string, value: unknown): void;
  event(event: RunEvent): void;
  /** ends the bar, before an error is printed */
  clear(): void;
}

export function createOutput(options: { json?: boolean; quiet?: boolean }): Output {
  return options.json ? jsonOutput() : textOutput(options.quiet ?? false);
}

function textOutput(quiet: boolean): Output {
  const stream = process.stderr;
  const view = new ProgressView({
    isTTY: stream.isTTY === true && !quiet,
    get columns() {
      return stream.columns || 120; // 0 on a terminal that does not say
    },
    write: (text) => void stream.write(text),
  });
  return {
    json: false,
    result(text) {
      view.clear();
      process.stdout.write(`${printable(text)}\n`);
    },
    event(event) {
      if (!quiet) view.handle(event);
    },
    clear: () => view.clear(),
  };
}

function jsonOutput(): Output {
  let lastProgress = 0;
  const print = (value: unknown) => void process.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    json: true,
    result: (_text, value) => print({ kind: "result", result: value }),
    event(event) {
      if (event.kind === "progress") {
        if (performance.now() - lastProgress < 1000) return;
        lastProgress = performance.now();
      }
      print(event);
    },
    clear() {},
  };
}
