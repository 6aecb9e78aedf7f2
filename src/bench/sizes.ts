/** The sizes that figures are quoted at, and how a size of one's own is completed. */
import { ShapeError } from "../errors.ts";

export interface BenchSize {
  /** One of SIZES, or "d512-F8192-k32". */
  readonly name: string;
  readonly dIn: number;
  readonly dSae: number;
  readonly k: number;
  /** Matryoshka widths: dSae/32, dSae/4, dSae. */
  readonly widths: readonly number[];
}

export const SIZES = {
  tiny: sizeOf("tiny", 256, 4096, 32),
  small: sizeOf("small", 768, 16384, 64),
  reference: sizeOf("reference", 2560, 65536, 100),
} as const satisfies Readonly<Record<string, BenchSize>>;

export type SizeName = keyof typeof SIZES;

/** A named size, with what is given in place of what the name says. @throws {ShapeError} k above dSae */
export function chooseSize(
  name: SizeName,
  given: { readonly dIn?: number; readonly dSae?: number; readonly k?: number } = {},
): BenchSize {
  const named = SIZES[name];
  const { dIn = named.dIn, dSae = named.dSae, k = named.k } = given;
  if (dIn === named.dIn && dSae === named.dSae && k === named.k) return named;
  if (k > dSae) throw new ShapeError("k", k, `at most F = ${dSae}`);
  return sizeOf(`d${dIn}-F${dSae}-k${k}`, dIn, dSae, k);
}

function sizeOf(name: string, dIn: number, dSae: number, k: number): BenchSize {
  const widths = [...new Set([dSae >> 5, dSae >> 2, dSae])].filter((width) => width > 0);
  return { name, dIn, dSae, k, widths };
}
