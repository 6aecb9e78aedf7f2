/** Exit codes, as `lapidary --help` documents them. */
export const EXIT = { done: 0, failed: 1, usage: 2, belowGate: 3, notVerified: 4, interrupted: 130 } as const;
