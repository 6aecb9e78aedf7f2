/**
 * Made-up SAEs and batches, each against one part of the screen's margin (docs/decisions/005-screening.md). Rows are made
 * of a few kinds; an attack says which kinds its tokens and its encoder are made of.
 */
import type { EngineConfig, Weights } from "../../src/kernels/kernels.ts";
import { Philox } from "../../src/random/philox.ts";

/** Above the sizes from which there is a screen, multiples neither of a tile (6 tokens) nor of a panel (64 latents). */
export const SOME_TOKENS = 146;
const SOME_LATENTS = 301;
const LARGEST_F32 = (2 - 2 ** -23) * 2 ** 127;

// ---- chance ----

export interface Dice {
  /** in [0, 1) */
  unit(): number;
  between(low: number, high: number): number;
  integer(below: number): number;
  sign(): number;
  /** roughly normal: the sum of four uniforms, variance 1 */
  noise(): number;
}

export function diceFor(purpose: string): Dice {
  const stream = new Philox(23, purpose);
  let next = 0;
  const unit = () => stream.u32(next++) / 2 ** 32;
  return {
    unit,
    between: (low, high) => low + (high - low) * unit(),
    integer: (below) => Math.floor(unit() * below),
    sign: () => (unit() < 0.5 ? -1 : 1),
    noise: () => (unit() + unit() + unit() + unit() - 2) * Math.sqrt(3),
  };
}

// ---- attacks ----

/** Fills row `at` of a matrix. */
export type Rows = (row: Float32Array, dice: Dice, at: number) => void;

export interface Attack {
  readonly name: string;
  readonly dIn: number;
  readonly nTokens?: number;
  readonly dSae?: number;
  readonly tokens: Rows;
  readonly encoder: Rows;
  /** bEnc of a latent; default: a little noise */
  readonly bias?: (dice: Dice) => number;
  /** ‖wDec[i]‖, of which only this matters; default: between 0.5 and 1.5 */
  readonly norm?: (dice: Dice) => number;
  /** bDec; default: zeros, so that c = x to the bit */
  readonly centre?: (dice: Dice) => number;
  readonly rules?: Partial<EngineConfig>;
}

const each =
  (value: (dice: Dice, j: number) => number): Rows =>
  (row, dice) => {
    for (let j = 0; j < row.length; j++) row[j] = value(dice, j);
  };
export const noise = each((dice) => dice.noise());
/** Every row times a factor of its own. */
export const scaled =
  (rows: Rows, factor: (dice: Dice) => number): Rows =>
  (row, dice, at) => {
    rows(row, dice, at);
    const by = factor(dice);
    for (let j = 0; j < row.length; j++) row[j] *= by;
  };
/** One of these for each row. */
const oneOf =
  (...kinds: Rows[]): Rows =>
  (row, dice, at) =>
    kinds[dice.integer(kinds.length)](row, dice, at);
/** Rows drawn from a few. */
const repeated =
  (rows: Rows, nDistinct: number, purpose: string): Rows =>
  (row, dice) =>
    rows(row, diceFor(`${purpose} ${dice.integer(nDistinct)}`), 0);

/** Signs that tokens and latents have in common. */
const commonSign = (j: number) => (((j * 2654435761) >>> 7) % 2 === 0 ? 1 : -1);
/** Quantised without error, and of one size: q = ±127 everywhere. */
export const extreme = each((_, j) => 127 * commonSign(j));
/**
 * Just below half-integers of the quantisation step, so that every rounding error is as large as can be and has the
 * common sign; the step is 1 by one value of 127. Against `extreme`, or another of its kind, Cauchy–Schwarz is all but
 * an equality.
 */
const halves: Rows = (row, dice) => {
  const whole = dice.integer(12);
  for (let j = 0; j < row.length; j++) row[j] = commonSign(j) * (whole + 0.4999);
  const largest = dice.integer(row.length);
  row[largest] = 127 * commonSign(largest);
};
const powerOfTwo = (dice: Dice) => 2 ** (dice.integer(21) - 10);
/**
 * Quantised without error, by steps of 17 significant bits: what is left is the rounding of fp32, which the exact
 * product and the screen's do in different orders.
 */
const gridStep = (dice: Dice) => 1 + dice.integer(65536) / 65536;
const grid: Rows = (row, dice) => {
  const step = gridStep(dice);
  for (let j = 0; j < row.length; j++) row[j] = dice.sign() * step * 2 ** dice.integer(7);
  row[dice.integer(row.length)] = 127 * step;
};
/** The same, and beside it three values for which it is but noise: what fp32 loses there is all that counts. */
const gridBesideHuge: Rows = (row, dice, at) => {
  grid(row, dice, at);
  for (const j of [2, 130, 300]) row[j] = 1e5 * dice.noise();
};
/** A row of zeros, a constant one, one value that is not zero. */
const zeros = each(() => 0);
const constant: Rows = (row, dice) => row.fill(dice.noise());
const single: Rows = (row, dice) => {
  row[dice.integer(row.length)] = dice.noise();
};
/** Small integers: sums without rounding, so many entries are equal. */
const integers = each((dice) => dice.integer(5) - 2);
/** These dimensions are thousands to millions of times as large as the others. */
export const huge = (dimensions: readonly number[]): Rows =>
  each((dice, j) => (dimensions.includes(j) ? dice.sign() * 10 ** dice.between(3, 6) : dice.noise()));
const anyScale = (dice: Dice) => 10 ** dice.between(-30, 30);
/** Steps whose products leave the range of f32 at its lower end; squares do long before. */
const tiny = (dice: Dice) => 2 ** dice.between(-90, -50);
const noNumber = (dice: Dice) =>
  [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][dice.integer(3)];
/** In some rows, one value that is no finite number. */
const damaged: Rows = (row, dice) => {
  noise(row, dice, 0);
  if (dice.unit() < 0.1) row[dice.integer(row.length)] = noNumber(dice);
};
/**
 * ‖row‖² is `share` of 2¹²⁸, about the largest f32, and more once it is quantised. The largest value is in the same place
 * as in every other row of this kind.
 */
const vast =
  (share: number, sign: number): Rows =>
  (row) => {
    for (let j = 0; j < row.length; j++) row[j] = j === 5 ? 127 : 6.51;
    let squares = 0;
    for (const value of row) squares += value * value;
    const factor = sign * Math.sqrt((share * 2 ** 128) / squares);
    for (let j = 0; j < row.length; j++) row[j] *= factor;
  };

export const attacks: readonly Attack[] = [
  ...[1, 7, 16, 50, 97, 203].map((dIn) => ({ name: `noise, d ${dIn}`, dIn, tokens: noise, encoder: noise })),
  {
    name: "noise, centred, no fewer tokens and latents would be screened",
    dIn: 129,
    nTokens: 128,
    dSae: 256,
    tokens: noise,
    encoder: noise,
    centre: (dice) => dice.noise(),
  },
  {
    name: "a huge dimension, of tokens alone",
    dIn: 100,
    tokens: huge([42]),
    encoder: noise,
  },
  {
    name: "more huge dimensions than are kept in fp32, of tokens and latents",
    dIn: 300,
    tokens: huge([0, 7, 100, 101, 299]),
    encoder: huge([7, 99, 299]),
  },
  {
    name: "eight huge dimensions",
    dIn: 800,
    nTokens: 130,
    dSae: 260,
    tokens: huge([0, 1, 2, 127, 128, 400, 798, 799]),
    encoder: noise,
    centre: (dice) => 100 * dice.noise(),
  },
  {
    name: "scales from 1e-30 to 1e30",
    dIn: 120,
    tokens: scaled(noise, anyScale),
    encoder: scaled(noise, anyScale),
    norm: (dice) => 10 ** dice.between(-15, 15),
  },
  {
    name: "products below the range of f32",
    dIn: 72,
    tokens: scaled(oneOf(noise, extreme, halves), tiny),
    encoder: scaled(oneOf(noise, extreme, halves), tiny),
    bias: () => 0,
    norm: () => 2 ** 60,
  },
  {
    name: "values below the range of f32",
    dIn: 90,
    tokens: scaled(oneOf(noise, extreme), (dice) => 2 ** dice.between(-148, 20)),
    encoder: scaled(oneOf(noise, extreme), (dice) => 2 ** dice.between(-148, 20)),
    bias: (dice) => (dice.unit() < 0.5 ? 0 : dice.noise() * 2 ** -140),
    norm: () => 2 ** 60,
  },
  {
    name: "equal rows, equal entries",
    dIn: 40,
    tokens: repeated(integers, 4, "token"),
    encoder: repeated(integers, 9, "latent"),
    bias: () => 1,
    norm: () => 2,
  },
  {
    name: "constant rows, zero rows, one value a row",
    dIn: 112,
    tokens: oneOf(zeros, constant, single, noise),
    encoder: oneOf(zeros, constant, single, noise),
  },
  { name: "an encoder of zeros, equal biases", dIn: 33, tokens: noise, encoder: zeros, bias: () => 0.25 },
  { name: "nothing but zeros", dIn: 33, tokens: zeros, encoder: zeros, bias: () => 0 },
  { name: "everything negative", dIn: 64, tokens: noise, encoder: noise, bias: () => -1e4 },
  {
    name: "one in a thousand positive",
    dIn: 64,
    tokens: noise,
    encoder: noise,
    bias: () => -28,
  },
  {
    name: "errors of the latents along the tokens",
    dIn: 256,
    tokens: scaled(extreme, powerOfTwo),
    encoder: scaled(halves, powerOfTwo),
    norm: () => 1,
  },
  {
    name: "errors of the tokens along the latents",
    dIn: 80,
    tokens: scaled(halves, powerOfTwo),
    encoder: scaled(extreme, powerOfTwo),
  },
  {
    name: "errors of both along each other",
    dIn: 90,
    tokens: scaled(halves, powerOfTwo),
    encoder: scaled(halves, powerOfTwo),
  },
  {
    name: "errors against each other, in a product that is negative",
    dIn: 60,
    tokens: scaled(halves, powerOfTwo),
    encoder: scaled(halves, (dice) => -powerOfTwo(dice)),
    bias: (dice) => 10 ** dice.between(0, 6),
  },
  { name: "no errors but of fp32", dIn: 16, tokens: grid, encoder: grid, bias: () => 0, norm: () => 1 },
  {
    name: "no errors but of fp32, beside huge dimensions",
    dIn: 301,
    tokens: gridBesideHuge,
    encoder: gridBesideHuge,
    bias: () => 0,
    norm: () => 1,
  },
  { name: "no errors but of fp32, d 144", dIn: 144, tokens: grid, encoder: grid, bias: () => 0 },
  {
    name: "not a number here and there",
    dIn: 110,
    tokens: damaged,
    encoder: damaged,
    bias: (dice) => (dice.unit() < 0.05 ? noNumber(dice) : dice.noise()),
    norm: (dice) => (dice.unit() < 0.05 ? noNumber(dice) : 1),
  },
  {
    name: "rows of infinite length",
    dIn: 100,
    tokens: oneOf(
      scaled(noise, () => 1e19),
      scaled(noise, () => 1e38),
      damaged,
    ),
    encoder: oneOf(
      noise,
      scaled(noise, () => 1e19),
      scaled(noise, () => 1e30),
    ),
    bias: (dice) => dice.noise() * LARGEST_F32,
  },
  {
    name: "products at the upper end of f32, larger once quantised",
    dIn: 90,
    tokens: vast(0.965, 1),
    encoder: oneOf(vast(0.995, -1), vast(0.9, 1), noise),
    bias: () => 0.999 * LARGEST_F32,
    rules: { rescaleActsByDecoderNorm: false },
  },
  {
    name: "rows used as they are, no centring",
    dIn: 128,
    tokens: noise,
    encoder: noise,
    rules: { applyBDecToInput: false, rescaleActsByDecoderNorm: false },
  },
  {
    name: "all of this at once",
    dIn: 190,
    tokens: oneOf(
      noise,
      huge([3]),
      scaled(noise, anyScale),
      zeros,
      constant,
      single,
      scaled(halves, powerOfTwo),
      grid,
    ),
    encoder: oneOf(
      noise,
      scaled(noise, anyScale),
      zeros,
      constant,
      extreme,
      scaled(halves, powerOfTwo),
      grid,
    ),
  },
];

export function configFor(attack: Attack): EngineConfig {
  const dSae = attack.dSae ?? SOME_LATENTS;
  return {
    dIn: attack.dIn,
    dSae,
    widths: [dSae],
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: true,
    training: false,
    threads: 1,
    ...attack.rules,
  };
}

export function matrix(nRows: number, width: number, rows: Rows, purpose: string): Float32Array {
  const dice = diceFor(purpose);
  const out = new Float32Array(nRows * width);
  for (let at = 0; at < nRows; at++) rows(out.subarray(at * width, (at + 1) * width), dice, at);
  return out;
}

export function weightsOf(attack: Attack): Weights {
  const { dIn } = attack;
  const {
    bias = (dice) => 0.1 * dice.noise(),
    norm = (dice) => dice.between(0.5, 1.5),
    centre = () => 0,
  } = attack;
  const dSae = attack.dSae ?? SOME_LATENTS;
  const firstOnly: Rows = (row, dice) => {
    row[0] = norm(dice);
  };
  return {
    dIn,
    dSae,
    wEnc: matrix(dSae, dIn, attack.encoder, `${attack.name} wEnc`),
    wDec: matrix(dSae, dIn, firstOnly, `${attack.name} wDec`),
    bEnc: matrix(dSae, 1, each(bias), `${attack.name} bEnc`),
    bDec: matrix(dIn, 1, each(centre), `${attack.name} bDec`),
  };
}

/** x, not at the start of a cache line, to which kernels would like rows to be aligned. */
export function inputsOf(attack: Attack): Float32Array {
  const n = attack.nTokens ?? SOME_TOKENS;
  const x = new Float32Array(n * attack.dIn + 1).subarray(1);
  x.set(matrix(n, attack.dIn, attack.tokens, `${attack.name} x`));
  return x;
}
