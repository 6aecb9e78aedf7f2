/**
 * The screen never misses (docs/decisions/005-screening.md). Made-up SAEs and batches attack it where its margin could
 * be too small: with the rigorous margin every selection must have the bits that the engine gives without a screen.
 *
 * Thresholds lie just below an entry of their latent, so that a margin short by any amount loses that entry if the
 * errors have the attack's direction.
 */
import { describe, expect, it } from "vitest";
import type { Isa } from "../../src/kernels/addon.ts";
import type {
  Engine,
  EngineConfig,
  Screening,
  Selection,
  SparseActs,
  TrainStepOptions,
  Weights,
} from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { addon, deadMask, hashOf, stepOptions } from "./cases.ts";
import { chosenFrom, difference, tightThresholds } from "./screening-answers.ts";
import {
  type Attack,
  attacks,
  configFor,
  diceFor,
  extreme,
  huge,
  inputsOf,
  matrix,
  noise,
  SOME_TOKENS,
  scaled,
  weightsOf,
} from "./screening-attacks.ts";

const { present, missing, isas, lacking } = addon();

/** Makes engines with the same weights. */
type Make = (screening: Screening, isa?: Isa, threads?: number) => Promise<Engine>;

function enginesFor(attack: Attack): Make {
  const weights = weightsOf(attack);
  return (screening, isa, threads = 1) =>
    createNativeEngine({ ...configFor(attack), screening, threads }, weights, { isa });
}

/** Every positive entry, by the dense product. */
async function allPositive(make: Make, x: Float32Array): Promise<SparseActs> {
  const engine = await make({ margin: "none" });
  const thresholds = new Float32Array(engine.config.dSae);
  const all = await engine.encode(x, { kind: "threshold", thresholds });
  await engine.dispose();
  return all;
}

interface Question {
  readonly x: Float32Array;
  readonly selection: Selection;
  readonly expected: SparseActs;
}

/** What is asked of every engine in turn, and the answers. */
async function questionsFor(attack: Attack, make: Make): Promise<Question[]> {
  const { dSae } = configFor(attack);
  const x = inputsOf(attack);
  const small = x.map((value) => value * 1e-4);
  const [all, allSmall] = [await allPositive(make, x), await allPositive(make, small)];
  const dice = diceFor(`${attack.name} thresholds`);
  const tight = () => ({ kind: "threshold", thresholds: tightThresholds(all, dSae, dice) }) as const;
  const largest = (k: number) => ({ kind: "batch-topk", k }) as const;
  const ofEach = (k: number) => ({ kind: "topk", k }) as const;
  const ask = (selection: Selection) => ({ x, selection, expected: chosenFrom(all, selection) });
  return [
    ask({ kind: "threshold", thresholds: new Float32Array(dSae) }),
    ...[tight(), tight(), ofEach(1), ofEach(40)].map(ask),
    // the first guess of the cut is from a sample, the next from the cut before; in the end far too high, far too low
    ...[largest(0.9), largest(1), largest(37.5)].map(ask),
    { x: small, selection: largest(3.3), expected: chosenFrom(allSmall, largest(3.3)) },
    ask(largest(3.3)),
  ];
}

describe.skipIf(!present)(`the screen with a rigorous margin${missing}`, () => {
  for (const attack of attacks)
    it(`${attack.name}: every selection of the dense product's entries, to the bit`, async () => {
      const make = enginesFor(attack);
      const questions = await questionsFor(attack, make);
      const screened = isas.map((isa, at) => make({ margin: "rigorous" }, isa, 1 + (at % 2)));
      const engines = await Promise.all([make({ margin: "none" }), ...screened]);
      for (const [at, engine] of engines.entries()) {
        for (const { x, selection, expected } of questions) {
          const what = `${engine.description}, ${selection.kind} ${"k" in selection ? selection.k : ""}`;
          expect(difference(await engine.encode(x, selection), expected), what).toBe("");
          if (at > 0 && selection.kind !== "batch-topk")
            expect((await engine.profile())?.screen, what).toBeGreaterThan(0);
        }
        await engine.dispose();
      }
    });
  for (const isa of lacking) it.skip(`${isa} (this machine has none)`, () => {});

  it("sums at their largest: d 60 000, all values equal in size", async () => {
    const [dIn, dSae, nTokens] = [60_000, 256, 128];
    const config: EngineConfig = {
      ...{ dIn, dSae, widths: [dSae], training: false, threads: 2 },
      ...{ applyBDecToInput: false, rescaleActsByDecoderNorm: false },
    };
    const x = new Float32Array(nTokens * dIn);
    for (let t = 0; t < nTokens; t++) x.fill(t % 2 === 0 ? 3 : -0.5, t * dIn, (t + 1) * dIn);
    const wEnc = new Float32Array(dSae * dIn);
    for (let i = 0; i < dSae; i++) wEnc.fill(i % 3 === 0 ? 2 : -2, i * dIn, (i + 1) * dIn);
    const selection = { kind: "threshold", thresholds: new Float32Array(dSae) } as const;
    const results: SparseActs[] = [];
    // avx512 has the integer sums of avx2; the scalar ones take long
    for (const isa of isas.filter((isa) => isa !== "scalar" && isa !== "avx512")) {
      const engine = await createNativeEngine(config, null, { isa });
      await engine.write("wEnc", 0, wEnc);
      results.push(await engine.encode(x, selection));
      expect((await engine.profile())?.screen).toBeGreaterThan(0);
      await engine.dispose();
    }
    for (const acts of results) {
      expect(acts.latents.length).toBe((nTokens / 2) * dSae);
      for (let t = 0; t < nTokens; t++)
        for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++)
          if ((acts.latents[e] % 3 === 0) !== (t % 2 === 0) || acts.values[e] !== (t % 2 === 0 ? 6 : 1) * dIn)
            throw new Error(`token ${t}, latent ${acts.latents[e]}: ${acts.values[e]}`);
    }
  });
});

describe.skipIf(!present)(`the screen in training${missing}`, () => {
  const config: EngineConfig = {
    ...{ dIn: 130, dSae: 320, widths: [70, 320], training: true },
    ...{ applyBDecToInput: true, rescaleActsByDecoderNorm: true },
  };
  const { dIn, dSae } = config;
  const weights: Weights = {
    dIn,
    dSae,
    wEnc: matrix(dSae, dIn, noise, "training wEnc"),
    wDec: matrix(
      dSae,
      dIn,
      scaled(noise, (dice) => dice.between(0.05, 0.15)),
      "training wDec",
    ),
    bEnc: matrix(dSae, 1, noise, "training bEnc"),
    bDec: matrix(dIn, 1, noise, "training bDec"),
  };
  /** Far larger and far smaller than the batch before, so that the guess of the cut is far off; two hold an infinity. */
  const batches = [1, 1, 1e3, 1e-3, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 1, 1].map(
    (scale, at) => {
      const x = matrix(SOME_TOKENS, dIn, huge([17]), `training x ${at}`);
      if (Number.isFinite(scale)) return x.map((value, i) => (i % dIn === 17 ? value * 1e-3 : value) * scale);
      x[5] = scale;
      return x;
    },
  );

  /** Everything that can be seen of a few steps, and of encoder rows written between them. */
  async function trained(
    rest: Partial<TrainStepOptions>,
    margin: "none" | "rigorous",
    isa?: Isa,
    threads = 1,
  ) {
    const engine = await createNativeEngine({ ...config, screening: { margin }, threads }, weights, { isa });
    const results: string[] = [];
    for (const [step, x] of batches.entries()) {
      results.push(JSON.stringify(await engine.trainStep(x, stepOptions(8, step, rest))));
      if (margin === "rigorous")
        expect((await engine.profile())?.searches, `step ${step}`).toBeGreaterThan(0);
      if (step === 1) await engine.write("wEnc", 100, matrix(9, dIn, extreme, "written"));
    }
    results.push(await hashOf(engine));
    await engine.dispose();
    return results;
  }

  const aux = { coefficient: 0.3, dead: deadMask(dSae) };
  for (const [name, rest] of [
    ["batch-topk", {}],
    ["batch-topk with AuxK", { aux }],
    ["topk", { selection: { kind: "topk", k: 6 }, clipNorm: null }],
    ["topk with AuxK", { selection: { kind: "topk", k: 6 }, aux }],
  ] as const)
    it(`${name}: the losses, weights and moments of training without a screen, to the bit`, async () => {
      const expected = await trained(rest, "none");
      for (const [at, isa] of isas.entries())
        expect(await trained(rest, "rigorous", isa, 1 + (at % 2)), isa).toEqual(expected);
    });
});

describe.skipIf(!present)(`the screen with a statistical margin${missing}`, () => {
  /** Found and computed exactly, with thresholds just below entries. */
  async function search(attack: Attack, screening: Screening) {
    const make = enginesFor(attack);
    const x = inputsOf(attack);
    const all = await allPositive(make, x);
    const thresholds = tightThresholds(all, configFor(attack).dSae, diceFor("statistical"));
    const engine = await make(screening);
    const acts = await engine.encode(x, { kind: "threshold", thresholds });
    const { candidates } = (await engine.profile())!;
    await engine.dispose();
    return { acts, candidates };
  }
  const named = (name: string) => attacks.find((attack) => attack.name === name)!;

  it("of √d standard deviations is the rigorous one; of six computes fewer entries and finds the same in noise", async () => {
    const attack = named("noise, d 203");
    const rigorous = await search(attack, { margin: "rigorous" });
    const whole = await search(attack, { margin: "statistical", sigmas: Math.sqrt(203) });
    expect(whole).toEqual(rigorous);
    const six = await search(attack, { margin: "statistical", sigmas: 6 });
    expect(six.candidates).toBeLessThan(rigorous.candidates);
    expect(difference(six.acts, rigorous.acts)).toBe("");
  });

  it("misses entries where errors are no chance: only the rigorous one is proof against these attacks", async () => {
    const attack = named("errors of the latents along the tokens");
    const rigorous = await search(attack, { margin: "rigorous" });
    const six = await search(attack, { margin: "statistical", sigmas: 6 });
    expect(six.acts.latents.length).toBeLessThan(rigorous.acts.latents.length);
  });
});
