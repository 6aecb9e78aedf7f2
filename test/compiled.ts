/**
 * Before the tests: brings dist/ up to the sources, which costs nothing when it is. Worker threads and processes of the command
 * line then start from there, in a third of the time that the sources take. If they do not compile, the sources are run.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { buildTypeScript, SetupError } from "../scripts/setup.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

export default async function compiled(project: TestProject): Promise<void> {
  await build();
  project.onTestsRerun(build);
}

async function build(): Promise<void> {
  delete process.env.LAPIDARY_COMPILED;
  try {
    await buildTypeScript({ root, verbose: false, log: console.log });
    process.env.LAPIDARY_COMPILED = join(root, "dist");
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`${error.message}\nThe tests run from the sources, slower.`);
  }
}
