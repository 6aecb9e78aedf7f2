/** What is said beside the table: the lesson of short texts, the worst token, the splice; of each model where it does worst. */
import { describe, expect, it } from "vitest";
import type { Metric } from "../evals/metrics.ts";
import type { EvalResult, WorstToken } from "../evals/result.ts";
import type { SpliceResult } from "../evals/splice/result.ts";
import { TRANSFER_LIMITS } from "../evals/transfer/limits.ts";
import type { TransferCell, TransferReport } from "../evals/transfer/report.ts";
import { TRANSFER_DEFINITIONS, type TransferDiagnosis } from "../evals/transfer/transfer.ts";
import { transferText } from "./transfer-text.ts";

const metric = (value: number): Metric => ({
  value,
  definition: "What it is.",
  unit: "1",
  n: 100,
  interval: null,
});
const WORST = {
  before: "and then ",
  token: "\n\n",
  after: " he",
  document: 7,
  position: 31,
  normRatio: 40.25,
  sseShare: 0.62,
} as WorstToken;

const LATENTS = {
  silentShare: 0.25,
  above10: 0.031,
  above50: 0,
  threshold: { quantile: 0.983, thresholdToCut: 0.97, k: 32 },
};

function cell(ve: number, sseShare: number, changes: Partial<TransferCell> = {}): TransferCell {
  return {
    model: "it",
    isBase: false,
    text: "prose",
    protocol: "full",
    windowTokens: 256,
    result: {
      nTokens: 12_345,
      hookName: "blocks.4.hook_resid_post",
      metrics: { ve: metric(ve), l0: metric(31.5) },
      latents: { nNeverFired: 1, nLatents: 64 },
      outliers: { worst: [WORST] },
    } as unknown as EvalResult,
    diagnosis: {
      outliers: { sseShare },
      home: null,
      fixes: null,
      meanShift: 0.1,
      scaleRatio: null,
      ...LATENTS,
    } as unknown as TransferDiagnosis,
    verdict: { cause: "outliers", action: "look at outliers", lines: ["Because."], evidence: [] },
    splice: null,
    ...changes,
  };
}
const report = (...cells: TransferCell[]): TransferReport => ({
  format: "lapidary-transfer",
  version: 1,
  name: "some/sae",
  sae: {
    hash: "",
    architecture: "jumprelu",
    dIn: 8,
    dSae: 64,
    hookName: "model.layers.4",
    modelName: "base",
  },
  layer: 4,
  k: 32,
  definitions: TRANSFER_DEFINITIONS,
  limits: TRANSFER_LIMITS,
  cells,
});

describe("beside the table", () => {
  it("short texts that would have hidden outliers are named, from the limit on", () => {
    const short = (ve: number) => cell(ve, 0.02, { protocol: "short", windowTokens: 64 });
    const said = (ve: number) => transferText(report(short(ve), cell(0.5, 0.4)), {});
    expect(said(0.88)).toContain(
      "Short texts alone would have said VE 0.880: there the worst 0.1 % of tokens carry 2 % of the squared error, in full contexts 40 %.",
    );
    expect(said(0.5 + TRANSFER_LIMITS.protocolGap.value - 0.001)).not.toContain("Short texts alone");
  });

  it("latents and the place of the threshold", () => {
    expect(transferText(report(cell(0.5, 0.1)), {})).toContain(
      "Latents: 25.0 % silent, 3.1 % on more than a tenth of the tokens, 0.0 % on more than half. " +
        "Threshold: above 98.3 % of the positive pre-activations, 0.97 × the cut at which L0 is k = 32.",
    );
  });

  it("the worst token stands in its context where outliers are the cause, and only there", () => {
    expect(transferText(report(cell(0.5, 0.7)), {})).toContain(
      'The worst token: "and then ⟦\\n\\n⟧ he", document 7, position 31, 40.3 × the median norm, 62 % of the squared error.',
    );
    const adapted = cell(0.5, 0.7, {
      verdict: { cause: "changed distribution", action: "adapt", lines: [], evidence: [] },
    });
    expect(transferText(report(adapted), {})).not.toContain("The worst token");
  });

  it("a model is judged where it does worst; the base only when it is alone", () => {
    const base = cell(0.8, 0, { model: "base", isBase: true });
    const text = transferText(report(base, cell(0.7, 0), cell(0.6, 0, { text: "chat" })), {});
    expect(text).toMatch(/^it on chat, where it does worst of 2 texts: look at outliers$/m);
    expect(text).not.toMatch(/^base on/m);
    expect(transferText(report(base), {})).toMatch(/^base on prose: look at outliers$/m);
  });

  it("one model and one text: every metric with its definition; a splice in one line", () => {
    const names = ["ceClean", "ceSpliced", "ceZero", "ceScore", "klSpliced"];
    const metrics = Object.fromEntries(names.map((name, i) => [name, metric(1 + i / 10)]));
    const text = transferText(report(cell(0.5, 0.1, { splice: { metrics } as unknown as SpliceResult })), {});
    expect(text).toMatch(/^ {2}ve +0\.50000 {3}What it is\.$/m);
    expect(text).toContain("it on prose: 12 345 tokens, blocks.4.hook_resid_post");
    expect(text).toContain(
      "Spliced in: cross-entropy 1.000 → 1.100 nats a token (zeros: 1.200, score 1.300), KL 1.400.",
    );
    expect(text).toMatch(/^ +│ full contexts, 256 tokens +│ what comes in +│ spliced in$/m);
    expect(text).toContain("+0.100");
  });
});
