import { expect, it } from "vitest";
import {
  count,
  counted,
  fixed,
  listOf,
  percent,
  powerOfTen,
  roundPercent,
  short,
  signed,
} from "./numbers.ts";

/** Narrow spaces as plain ones. */
const plain = (text: string) => text.replaceAll("\u202f", " ");

it("counts have spaces between thousands", () => {
  expect([0, 999, 1000, 20_136, 1_234_567].map((value) => plain(count(value)))).toEqual([
    "0",
    "999",
    "1 000",
    "20 136",
    "1 234 567",
  ]);
  expect(count(null)).toBe("–");
  expect(counted(1, "step")).toBe("1 step");
  expect(counted(2, "step")).toBe("2 steps");
});

it("decimals are fixed, minus is a minus, and there is no negative zero", () => {
  expect(fixed(-0.5, 2)).toBe("−0.50");
  expect(fixed(-0.0001, 2)).toBe("0.00");
  expect(fixed(Number.NaN, 2)).toBe("–");
  expect(plain(fixed(-12_345.678, 1))).toBe("−12 345.7");
  expect([signed(0.1, 2), signed(0, 2), signed(-0.1, 2)]).toEqual(["+0.10", "0.00", "−0.10"]);
});

it("short numbers have four digits, or a power of ten", () => {
  expect([32, 0.4, 15.123_45, 0.001_234, 0].map((value) => short(value))).toEqual([
    "32",
    "0.4000",
    "15.12",
    "0.001234",
    "0",
  ]);
  expect(plain(short(12_345.6))).toBe("12 346");
  expect([1.5e-7, -2.5e9].map((value) => short(value))).toEqual(["1.50 × 10⁻⁷", "−2.50 × 10⁹"]);
  expect(short(2.71, 2)).toBe("2.7");
});

it("shares are percentages of two or three digits, or as they were chosen", () => {
  expect([0.4321, 0.0123, 0.000_42, 0.0003, 1, 0, -0.25].map((share) => plain(percent(share)))).toEqual([
    "43.2 %",
    "1.23 %",
    "0.042 %",
    "0.030 %",
    "100 %",
    "0 %",
    "−25.0 %",
  ]);
  expect([0.001, 0.5, 1e-5].map((share) => plain(roundPercent(share)))).toEqual(["0.1 %", "50 %", "0.001 %"]);
});

it("powers and lists", () => {
  expect([powerOfTen(-3), powerOfTen(12)]).toEqual(["10⁻³", "10¹²"]);
  expect([listOf([]), listOf([1]), listOf([1, 2]), listOf([1, 2, 3])]).toEqual([
    "",
    "1",
    "1 and 2",
    "1, 2 and 3",
  ]);
});
