/**
 * What a step would cost if it were computed densely, and what of this machine's peaks was used. One dense product of the
 * encoder, tokens × inputs × latents, takes 2·B·d·F operations; a dense training step takes about six of them: the encode, the
 * reconstructions of all widths, and the gradients of both.
 */
import type { StepProfile } from "../kernels/kernels.ts";
import { median, round } from "./measure.ts";
import type { Peaks } from "./peaks.ts";
import type { BenchSize } from "./sizes.ts";
import { sayNumber, sayShare, sayTime } from "./words.ts";

/**
 * Of an encode; of a matryoshka batch-topk step; of a step where latents fire by themselves: forward h and x̂, backward
 * ∂/∂a and two matrices. A gated SAE has a second x̂, and so all of these twice but for the encoder's.
 */
const DENSE_PRODUCTS = { encode: 1, step: 6, standard: 5, gated: 8, jumprelu: 5 } as const;

/** Phases that are seconds; the parts are those of the search, within encode. */
const PHASES = ["encode", "reconstruct", "aux", "gradients", "update"] as const;
const PARTS = ["quantise", "screen", "refine"] as const;

interface Findings {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

/** Figures and lines about the arithmetic of a turn that took `seconds`. */
export function arithmeticOf(
  what: keyof typeof DENSE_PRODUCTS,
  size: BenchSize,
  batchTokens: number,
  seconds: number,
  peaks: Peaks | null,
): Findings {
  const products = DENSE_PRODUCTS[what];
  const gflops = (products * denseProduct(size, batchTokens)) / seconds / 1e9;
  const ofPeak = peaks && gflops / peaks.fp32;
  return {
    figures: { denseEquivalent: { products, gflops: round(gflops), ofFp32Peak: ofPeak && round(ofPeak) } },
    lines: [
      `  as dense  ${sayNumber(gflops)} GFLOP/s, had ${products === 1 ? "the product" : `${products} products`} been computed densely` +
        (peaks === null ? "" : `; the fp32 peak is ${sayNumber(peaks.fp32)}`),
    ],
  };
}

/** Figures and lines about the phases of the turns, medians each, and about the screen among them. */
export function phasesOf(
  profiles: readonly StepProfile[],
  size: BenchSize,
  batchTokens: number,
  peaks: Peaks | null,
): Findings {
  const spent = (names: readonly (keyof StepProfile)[]) =>
    names.map((name) => [name, medianOf(profiles, name)] as const).filter(([, seconds]) => seconds > 0);
  const [whole, parts] = [spent(PHASES), spent(PARTS)];
  if (whole.length + parts.length === 0) return { figures: {}, lines: [] };
  const say = (list: typeof whole) =>
    list.map(([name, seconds]) => `${name} ${sayTime(seconds)}`).join(" · ");
  const screen = screenOf(profiles, size, batchTokens, peaks);
  return {
    figures: {
      phaseSeconds: Object.fromEntries([...whole, ...parts].map(([name, seconds]) => [name, round(seconds)])),
      ...screen.figures,
    },
    lines: [
      ...(whole.length === 0 ? [] : [`  phases    ${say(whole)}`]),
      ...(parts.length === 0 ? [] : [`  search    ${say(parts)}`]),
      ...screen.lines,
    ],
  };
}

function screenOf(
  profiles: readonly StepProfile[],
  size: BenchSize,
  batchTokens: number,
  peaks: Peaks | null,
): Findings {
  const screened = profiles.filter(({ screen }) => screen > 0);
  if (screened.length === 0) return { figures: {}, lines: [] };
  const product = denseProduct(size, batchTokens) / 1e9;
  const gops = median(screened.map(({ screen, searches }) => (searches * product) / screen));
  const ofPeak = peaks && gops / peaks.int8;
  const perToken = medianOf(screened, "candidates") / batchTokens;
  const searches = screened.reduce((sum, profile) => sum + profile.searches, 0) / screened.length;
  return {
    figures: {
      screen: {
        gops: round(gops),
        ofInt8Peak: ofPeak && round(ofPeak),
        candidatesPerToken: round(perToken),
        meanSearches: round(searches),
      },
    },
    lines: [
      `  screen    ${sayNumber(gops)} Gop/s${ofPeak === null ? "" : `, ${sayShare(ofPeak)} of the int8 peak`}; ` +
        `${sayNumber(perToken)} candidates a token; ${sayNumber(searches)} searches a batch, on average`,
    ],
  };
}

/** The median of one field; 0 without profiles. */
export function medianOf(profiles: readonly StepProfile[], name: keyof StepProfile): number {
  return profiles.length === 0 ? 0 : median(profiles.map((profile) => profile[name]));
}

function denseProduct({ dIn, dSae }: BenchSize, batchTokens: number): number {
  return 2 * batchTokens * dIn * dSae;
}
