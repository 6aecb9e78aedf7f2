/** Types of setup.mjs, for the tests. */
export class SetupError extends Error {
  readonly hint: string;
}

export function setup(options?: {
  root?: string;
  verbose?: boolean;
  log?: (line: string) => void;
}): Promise<{ engine: "native" | "wasm" | "reference"; reason: string; changed: boolean }>;

export function packagesMatchLock(root: string): boolean;

export function npmAdvice(output: string): string;
