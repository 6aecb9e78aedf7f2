/** Types of build-wasm.mjs, for the tests. */
export const WASM_FILE: string;

export function readStamp(
  bytes: Uint8Array,
): { compiler: string; flags: string[]; sources: Record<string, string> } | null;

export function staleSources(bytes: Uint8Array): string[];
