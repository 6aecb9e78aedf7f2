/**
 * An allocator that fails on purpose: the constructors of typed arrays and buffers of this process, patched so that the
 * n-th array of a page or more cannot be had, as V8 says it. Not for use outside tests.
 */

/** Smaller ones come from pools and never fail. */
const PAGE_BYTES = 4096;

const ARRAYS = [
  "Float32Array",
  "Float64Array",
  "Uint8Array",
  "Uint16Array",
  "Uint32Array",
  "Int8Array",
  "Int32Array",
] as const;

/** Patches this process. `mayAllocate` is asked before each array. */
export function patchAllocations(mayAllocate: () => boolean): void {
  const check = (bytes: number) => {
    if (bytes >= PAGE_BYTES && !mayAllocate()) throw new RangeError("Array buffer allocation failed");
  };
  const scope = globalThis as unknown as Record<string, new (...args: unknown[]) => object>;
  for (const name of ARRAYS) {
    const original = scope[name] as (new (...args: unknown[]) => object) & { BYTES_PER_ELEMENT: number };
    scope[name] = new Proxy(original, {
      construct(target, args, newTarget) {
        check(lengthOf(args[0]) * original.BYTES_PER_ELEMENT);
        return Reflect.construct(target, args, newTarget);
      },
    });
  }
  scope.ArrayBuffer = new Proxy(scope.ArrayBuffer, {
    construct(target, args, newTarget) {
      check(Number(args[0]));
      return Reflect.construct(target, args, newTarget);
    },
  });
  const alloc = Buffer.alloc;
  Buffer.alloc = ((bytes: number, ...rest: []) => {
    check(bytes);
    return alloc(bytes, ...rest);
  }) as typeof Buffer.alloc;
}

/** Elements that a typed array made of `source` copies; a view of a buffer takes nothing. */
function lengthOf(source: unknown): number {
  if (typeof source === "number") return source;
  if (source instanceof ArrayBuffer || source instanceof SharedArrayBuffer) return 0;
  return (source as { length?: number } | undefined)?.length ?? 0;
}
