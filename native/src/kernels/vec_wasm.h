// The primitives of the kernels on WebAssembly's simd128: vectors of 4. Included inside a namespace; no guard.
// There is no fused multiply-add: products are rounded before they are added, in a numeric class of its own.

constexpr size_t kWidth = 4;

using Vec = v128_t;

static inline Vec zero() { return wasm_f32x4_const_splat(0.0f); }
static inline Vec load(const float* from) { return wasm_v128_load(from); }
static inline void store(float* to, Vec a) { wasm_v128_store(to, a); }
static inline void store_unaligned(float* to, Vec a) { wasm_v128_store(to, a); }
static inline Vec broadcast(float value) { return wasm_f32x4_splat(value); }
static inline Vec add(Vec a, Vec b) { return wasm_f32x4_add(a, b); }
static inline Vec mul(Vec a, Vec b) { return wasm_f32x4_mul(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return add(mul(a, b), c); }
static inline Vec divide(Vec a, Vec b) { return wasm_f32x4_div(a, b); }
static inline Vec square_root(Vec a) { return wasm_f32x4_sqrt(a); }
static inline Vec absolute(Vec a) { return wasm_f32x4_abs(a); }
static inline Vec maximum(Vec a, Vec b) { return wasm_f32x4_pmax(b, a); }
static inline Vec round_to_even(Vec a) { return wasm_f32x4_nearest(a); }
static inline void store_bytes(int8_t* to, Vec a) {
  const v128_t whole = wasm_i32x4_trunc_sat_f32x4(a);
  const v128_t words = wasm_i16x8_narrow_i32x4(whole, whole);
  wasm_v128_store32_lane(to, wasm_i8x16_narrow_i16x8(words, words), 0);
}
static inline uint32_t greater(Vec a, Vec b) { return wasm_i32x4_bitmask(wasm_f32x4_gt(a, b)); }
static inline uint32_t not_at_most(Vec a, Vec b) { return wasm_i32x4_bitmask(wasm_v128_not(wasm_f32x4_le(a, b))); }

static inline float tree_sum(const Vec* parts) {
  const Vec four = add(add(parts[0], parts[2]), add(parts[1], parts[3]));
  const Vec two = add(four, wasm_i32x4_shuffle(four, four, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
}

// 4 × 4: pairs, then halves.
static inline void transpose(const float* const* from, float* const* to) {
  const Vec a0 = load(from[0]);
  const Vec a1 = load(from[1]);
  const Vec a2 = load(from[2]);
  const Vec a3 = load(from[3]);
  const Vec low01 = wasm_i32x4_shuffle(a0, a1, 0, 4, 1, 5);
  const Vec high01 = wasm_i32x4_shuffle(a0, a1, 2, 6, 3, 7);
  const Vec low23 = wasm_i32x4_shuffle(a2, a3, 0, 4, 1, 5);
  const Vec high23 = wasm_i32x4_shuffle(a2, a3, 2, 6, 3, 7);
  store(to[0], wasm_i64x2_shuffle(low01, low23, 0, 2));
  store(to[1], wasm_i64x2_shuffle(low01, low23, 1, 3));
  store(to[2], wasm_i64x2_shuffle(high01, high23, 0, 2));
  store(to[3], wasm_i64x2_shuffle(high01, high23, 1, 3));
}
