/** What a terminal is sent while a unit works, and what is sent when it is no terminal. */
import { describe, expect, it } from "vitest";
import { formatBytes, formatSeconds, ProgressView } from "./progress.ts";

function view(options: { isTTY: boolean; columns?: number }) {
  let now = 0;
  const written: string[] = [];
  const terminal = { columns: 200, ...options, write: (text: string) => void written.push(text) };
  return { written, at: (seconds: number) => (now = seconds), view: new ProgressView(terminal, () => now) };
}

const begin = { kind: "begin", unit: "train:4", title: "train layer 4", resumed: false } as const;
const details = { "tok/s": 31_000, loss: 12.345, ve: 0.8123, l0: 32.1, threshold: 0.8403, dead: 2500 };
const step = (done: number) =>
  ({ kind: "progress", unit: "train:4", progress: { done, total: 1000, unit: "steps", details } }) as const;

describe("on a terminal", () => {
  it("draws a bar with rate, ETA and details once it has taken two seconds", () => {
    const { written, at, view: progress } = view({ isTTY: true });
    progress.handle(begin);
    progress.handle(step(0));
    at(1.9);
    progress.handle(step(190));
    expect(written).toEqual([]);
    at(5);
    progress.handle(step(500));
    expect(written).toEqual([
      "\r\u001b[2Ktrain layer 4 ████████████░░░░░░░░░░░░ 50 % 500/1 000 steps · 100 steps/s · ETA 0:05 · tok/s 31 000 · loss 12.3 · ve 0.812 · l0 32.1 · threshold 0.840 · dead 2 500",
    ]);
    at(5.05);
    progress.handle(step(505)); // at most ten times a second
    expect(written).toHaveLength(1);
  });

  it("leaves out the bar where there is no room, and never wraps", () => {
    const { written, at, view: progress } = view({ isTTY: true, columns: 90 });
    progress.handle(begin);
    progress.handle(step(0));
    at(5);
    progress.handle(step(500));
    expect(written[0]).toContain("train layer 4 50 % · ETA 0:05 · tok/s 31 000 · loss 12.3 · ve 0.812");
    expect(written[0].replace("\r\u001b[2K", "")).toHaveLength(89);
  });

  it("counts the rate from where a resumed unit took up its work", () => {
    const { written, at, view: progress } = view({ isTTY: true });
    progress.handle(begin);
    progress.handle(step(400));
    at(4);
    progress.handle(step(600));
    expect(written[0]).toContain("60 % 600/1 000 steps · 50 steps/s · ETA 0:08");
  });

  it("says in one line what memory a training takes, small parts together", () => {
    const { written, view: progress } = view({ isTTY: false });
    const parts = [
      { name: "weights", bytes: 1.34e9 },
      { name: "moments", bytes: 2.68e9 },
      { name: "threads", bytes: 5e6 },
      { name: "gradients", bytes: 11e6 },
    ];
    progress.handle({ kind: "memory", unit: "train:4", parts, total: 4.036e9, free: 21e9 });
    expect(written).toEqual(["memory: 4.0 GB of 21 GB free (weights 1.3 GB, moments 2.7 GB, other 16 MB)\n"]);
  });

  it("takes the bar away before a line, and has one line a unit", () => {
    const { written, at, view: progress } = view({ isTTY: true });
    progress.handle(begin);
    progress.handle(step(0));
    at(5);
    progress.handle(step(500));
    progress.handle({ kind: "done", unit: "train:4", title: "train layer 4", seconds: 10 });
    expect(written[1]).toBe("\r\u001b[2K");
    expect(written[2]).toMatch(/train layer 4 .*10 s.*\n$/);
  });
});

it("elsewhere nothing moves: finished units, skipped ones and notes only", () => {
  const { written, at, view: progress } = view({ isTTY: false });
  progress.handle(begin);
  at(60);
  progress.handle(step(500));
  progress.handle({ kind: "note", message: "one window at a time" });
  progress.handle({ kind: "done", unit: "train:4", title: "train layer 4", seconds: 61.2 });
  progress.handle({ kind: "skipped", unit: "card", title: "model card" });
  expect(written).toEqual([
    "one window at a time\n",
    "✓ train layer 4 61 s\n",
    "· model card (done before, unchanged)\n",
  ]);
});

it("says times and sizes as people do", () => {
  expect([0.31, 42.4, 190, 18_360, 1_036_800].map(formatSeconds)).toEqual([
    "0.3 s",
    "42 s",
    "3 min 10 s",
    "5.1 h",
    "12 days",
  ]);
  expect([900, 36e6, 4.04e9, 129.4e9].map(formatBytes)).toEqual(["1 kB", "36 MB", "4.0 GB", "129 GB"]);
});

it("a name or an answer does not steer the terminal", () => {
  const { written, view: progress } = view({ isTTY: false });
  progress.handle({ kind: "note", message: "layer \u001b[2J\u202e4\r:\n\tfine" });
  progress.handle({ kind: "done", unit: "u", title: "index \u0007", seconds: 1 });
  expect(written.join("")).toMatch(/^layer �\[2J�4�:\n\tfine\n✓ index � /);
});
