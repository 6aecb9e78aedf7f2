/** Characters spread over tokens show once, and whole. */
import { expect, it } from "vitest";
import { GeneratedText } from "./generated-text.ts";

const BYTES: Record<number, number[] | null> = {
  0: [0x61],
  1: [0xe2, 0x82],
  2: [0xac],
  3: [0xf0],
  4: null,
};
const vocabulary = { bytesOf: (id: number) => (BYTES[id] == null ? null : Uint8Array.from(BYTES[id])) };

it("holds back a character until its last byte", () => {
  const text = new GeneratedText(vocabulary);
  expect([0, 1, 2, 0].map((id) => text.add(id))).toEqual(["a", "", "€", "a"]);
  expect(text.end()).toBe("");
});

it("spells out what is no character: bytes alone, ids without bytes, an end too soon", () => {
  const text = new GeneratedText(vocabulary);
  expect(text.add(2)).toBe("\\xAC");
  expect(text.add(3)).toBe("");
  expect(text.add(0)).toBe("\\xF0a");
  expect(text.add(4)).toBe("[token 4]");
  expect(text.add(1)).toBe("");
  expect(text.end()).toBe("\\xE2\\x82");
});
