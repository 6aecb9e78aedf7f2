/** Types of setup.mjs, for the tests. */
export class SetupError extends Error {
  readonly hint: string;
}

export function setup(options?: {
  root?: string;
  verbose?: boolean;
  log?: (line: string) => void;
}): Promise<{ engine: "native" | "wasm" | "reference"; reason: string; changed: boolean }>;

export interface BuildContext {
  root: string;
  verbose: boolean;
  log: (line: string) => void;
  /** what was built from what; left out: as the folder says */
  state?: Record<string, unknown>;
}

/** False: nothing has changed since it was built, or there are no sources. */
export function buildTypeScript(context: BuildContext): Promise<boolean>;

/** False: nothing has changed since it was built, or there are no sources. */
export function buildPage(context: BuildContext): Promise<boolean>;

export function packagesMatchLock(root: string): boolean;

export function npmAdvice(output: string): string;
