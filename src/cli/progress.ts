/**
 * What a person sees while a command works: one line a finished unit, and on a terminal a bar with rate and ETA for
 * whatever takes longer than two seconds. Nothing moves when the output is not a terminal.
 */
import { styleText } from "node:util";
import type { MemoryPart } from "../kernels/memory.ts";
import type { Progress, RunEvent } from "../pipeline/context.ts";
import { printable } from "./printable.ts";

const BAR_WIDTH = 24;
const SHOW_AFTER_SECONDS = 2;
const REDRAW_SECONDS = 0.1;

export interface Terminal {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

export class ProgressView {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  #begun = 0;
  /** where the counter stood at the first report, and when: the rate counts from here, not from what a resume found */
  #first: { done: number; at: number } | null = null;
  #drawnAt = 0;
  #title = "";
  #isDrawn = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now() / 1000) {
    this.#terminal = terminal;
    this.#now = now;
  }

  handle(event: RunEvent): void {
    switch (event.kind) {
      case "begin":
        this.begin(event.title);
        return;
      case "progress":
        this.progress(event.progress);
        return;
      case "done":
        this.line(
          `${this.#paint("green", "✓")} ${printable(event.title)} ${this.#paint("dim", formatSeconds(event.seconds))}`,
        );
        return;
      case "skipped":
        this.line(this.#paint("dim", `· ${event.title} (done before, unchanged)`));
        return;
      case "memory":
        this.line(this.#paint("dim", memoryLine(event)));
        return;
      case "note":
        this.line(this.#paint("dim", event.message));
    }
  }

  begin(title: string): void {
    this.#title = printable(title);
    this.#begun = this.#now();
    this.#first = null;
  }

  progress(progress: Progress): void {
    if (!this.#terminal.isTTY) return;
    const now = this.#now();
    this.#first ??= { done: progress.done, at: now };
    if (now - this.#begun < SHOW_AFTER_SECONDS || now - this.#drawnAt < REDRAW_SECONDS) return;
    this.#drawnAt = now;
    const perSecond = (progress.done - this.#first.done) / Math.max(1e-9, now - this.#first.at);
    const room = Math.max(20, this.#terminal.columns - 1);
    const full = progressLine(this.#title, progress, perSecond, BAR_WIDTH);
    const text = full.length <= room ? full : progressLine(this.#title, progress, perSecond, 0);
    this.#terminal.write(`\r\u001b[2K${text.slice(0, room)}`);
    this.#isDrawn = true;
  }

  /** Writes a whole line, above where the bar was. */
  line(text: string): void {
    this.clear();
    this.#terminal.write(`${text}\n`);
  }

  #paint(style: "green" | "dim", text: string): string {
    const shown = printable(text);
    return this.#terminal.isTTY && process.env.NO_COLOR === undefined ? styleText(style, shown) : shown;
  }

  clear(): void {
    if (this.#isDrawn) this.#terminal.write("\r\u001b[2K");
    this.#isDrawn = false;
  }
}

/**
 * "train layer 4 ████████░░░░ 33 % 331/1 000 steps · 31 steps/s · ETA 0:21 · loss 12.3 …"; without room for a bar
 * (`barWidth` 0) "train layer 4 33 % · ETA 0:21 · loss 12.3 …".
 */
function progressLine(
  title: string,
  { done, total, unit, details }: Progress,
  perSecond: number,
  barWidth: number,
): string {
  const parts: string[] = [];
  if (total === null || total === 0) parts.push(`${title} ${count(done)} ${unit}`);
  else {
    const share = Math.min(1, done / total);
    const filled = Math.round(share * barWidth);
    const percent = `${Math.floor(share * 100)} %`;
    parts.push(
      barWidth === 0
        ? `${title} ${percent}`
        : `${title} ${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${percent} ${count(done)}/${count(total)} ${unit}`,
    );
  }
  if (perSecond > 0) {
    if (barWidth > 0) parts.push(`${compact(perSecond)} ${unit}/s`);
    if (total !== null) parts.push(`ETA ${formatClock((total - done) / perSecond)}`);
  }
  for (const [name, value] of Object.entries(details ?? {})) {
    parts.push(`${name} ${typeof value === "number" ? compact(value) : value}`);
  }
  return parts.join(" · ");
}

/** "memory: 5.1 GB of 21 GB free (weights 1.3 GB, moments 2.7 GB, …)": parts from a hundredth of the whole on. */
function memoryLine({ parts, total, free }: Extract<RunEvent, { kind: "memory" }>): string {
  return `memory: ${formatBytes(total)} of ${formatBytes(free)} free (${memoryParts(parts, total)})`;
}

/** Parts from a hundredth of the whole on, the rest as "other". */
export function memoryParts(parts: readonly MemoryPart[], total: number): string {
  const large = parts.filter(({ bytes }) => bytes >= total / 100);
  const other = total - large.reduce((sum, { bytes }) => sum + bytes, 0);
  const shown = other > 0 ? [...large, { name: "other", bytes: other }] : large;
  return shown.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
}

/** 1 234 567 */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}

/** Three or four figures: 0.8512, 31.2, 1 240. */
function compact(n: number): string {
  if (!Number.isFinite(n)) return String(n);
  if (Number.isInteger(n) || Math.abs(n) >= 1000) return count(n);
  return Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(3);
}

function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** "0.3 s", "42 s", "3 min 10 s", "5.1 h", "12 days" */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${count(seconds / 86_400)} days`;
}

/** "36 MB", "129 GB" */
export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${bytes < 1e10 ? (bytes / 1e9).toFixed(1) : Math.round(bytes / 1e9)} GB`;
}
