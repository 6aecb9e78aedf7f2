/** The project's own documents: their relative links lead to files and headings that are there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { anchorsOf, brokenLinks } from "./markdown.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const documents = [
  ...["README.md", "CONTRIBUTING.md"].map((name) => join(ROOT, name)),
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(ROOT, "docs", name)),
];

it("finds documents", () => expect(documents.length).toBeGreaterThan(15));

it.each(documents.map((path) => [relative(ROOT, path), path]))("%s", (_, path) => {
  const beside = (target: string) => join(dirname(path), target);
  const anchors = (target: string) => anchorsOf(readFileSync(beside(target), "utf8"));
  expect(brokenLinks(readFileSync(path, "utf8"), (target) => existsSync(beside(target)), anchors)).toEqual(
    [],
  );
});
