// The kernels, written once over a vector type `Vec` of `kWidth` floats. Included by portable.cc, avx2.cc,
// avx512.cc and neon.cc, each inside a namespace of its own and after defining (see those files):
//   kPanelVectors, kTogether (1 or 2), and the primitives of vec_*.h: Vec, kWidth, zero, load, store, store_unaligned,
//   broadcast, fma, add, mul, divide, square_root, absolute, maximum (of b where either is no number), round_to_even,
//   store_bytes (whole numbers within ±127 as int8), greater (a bit mask), tree_sum (the 16 lanes of a dot product),
//   transpose (kWidth × kWidth).
// No include guard: that is the point.

constexpr size_t kMaxSteps = kBlock / kLanes;

static inline size_t block_steps(size_t d_pad, size_t block_start) {
  const size_t left = (d_pad - block_start) / kLanes;
  return left < kMaxSteps ? left : kMaxSteps;
}

#include "dense_body.h"

// The 16 lanes of one block, added in their tree. kSteps 0: any number of them.
template <size_t kSteps>
static inline float block_dot(const float* a, const float* b, size_t steps) {
  constexpr size_t kParts = kLanes / kWidth;
  Vec lanes[kParts];
  for (size_t i = 0; i < kParts; i++) lanes[i] = zero();
  const size_t n = kSteps == 0 ? steps : kSteps;
#pragma GCC unroll 8
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < kParts; i++) {
      const size_t at = j * kLanes + i * kWidth;
      lanes[i] = fma(load(a + at), load(b + at), lanes[i]);
    }
  return tree_sum(lanes);
}

static float dot(const float* a, const float* b, size_t d_pad) {
  float total = 0.0f;
  for (size_t start = 0; start < d_pad; start += kBlock) {
    const size_t steps = block_steps(d_pad, start);
    const float block = steps == kMaxSteps ? block_dot<kMaxSteps>(a + start, b + start, steps)
                                           : block_dot<0>(a + start, b + start, steps);
    total = start == 0 ? block : total + block;
  }
  return total;
}

// Rows far apart, each a few cache lines: the processor does not see the next one coming.
constexpr size_t kAhead = 8;

static inline void prefetch_row(const float* row, size_t width) {
  for (size_t j = 0; j < width; j += kLanes) LAPIDARY_PREFETCH(row + j);
}

template <size_t kSteps>
static inline void dot_rows_of(const float* a, const float* rows, size_t stride, size_t steps, const uint32_t* index,
                               size_t n, bool first, float* sums) {
  for (size_t i = 0; i < n; i++) {
    if (i + kAhead < n) prefetch_row(rows + index[i + kAhead] * stride, steps * kLanes);
    const float sum = block_dot<kSteps>(a, rows + index[i] * stride, steps);
    sums[i] = first ? sum : sums[i] + sum;
  }
}

static void dot_rows(const float* a, const float* rows, size_t stride, size_t width, const uint32_t* index, size_t n,
                     bool first, float* sums) {
  if (width == kBlock)
    dot_rows_of<kMaxSteps>(a, rows, stride, kMaxSteps, index, n, first, sums);
  else
    dot_rows_of<0>(a, rows, stride, width / kLanes, index, n, first, sums);
}

// kVectors vectors of the accumulator stay in registers while all entries pass by.
template <size_t kVectors>
static inline void gather_columns(float* acc, const float* rows, size_t stride, const uint32_t* index,
                                  const float* coef, size_t n) {
  Vec sum[kVectors];
#pragma GCC unroll 16
  for (size_t v = 0; v < kVectors; v++) sum[v] = load(acc + v * kWidth);
  for (size_t e = 0; e < n; e++) {
    if (e + kAhead < n) prefetch_row(rows + index[e + kAhead] * stride, kVectors * kWidth);
    const float* row = rows + index[e] * stride;
    const Vec c = broadcast(coef[e]);
#pragma GCC unroll 16
    for (size_t v = 0; v < kVectors; v++) sum[v] = fma(c, load(row + v * kWidth), sum[v]);
  }
#pragma GCC unroll 16
  for (size_t v = 0; v < kVectors; v++) store(acc + v * kWidth, sum[v]);
}

static void gather(float* acc, const float* rows, size_t stride, size_t width, const uint32_t* index,
                   const float* coef, size_t n) {
  constexpr size_t kVectors = 8;
  if (n == 0) return;
  size_t at = 0;
  for (; at + kVectors * kWidth <= width; at += kVectors * kWidth)
    gather_columns<kVectors>(acc + at, rows + at, stride, index, coef, n);
  for (; at + kLanes <= width; at += kLanes)
    gather_columns<kLanes / kWidth>(acc + at, rows + at, stride, index, coef, n);
}

template <size_t kVectors>
static inline void gather_tile_columns(float* acc, size_t acc_stride, const float* rows, size_t stride,
                                       const uint32_t* index, const float* coef, size_t n) {
  Vec sum[kTileTokens][kVectors];
#pragma GCC unroll 8
  for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; v++) sum[t][v] = load(acc + t * acc_stride + v * kWidth);
  for (size_t e = 0; e < n; e++) {
    const float* from = rows + index[e] * stride;
    Vec row[kVectors];
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; v++) row[v] = load(from + v * kWidth);
#pragma GCC unroll 8
    for (size_t t = 0; t < kTileTokens; t++) {
      const Vec c = broadcast(coef[e * kTileTokens + t]);
#pragma GCC unroll 8
      for (size_t v = 0; v < kVectors; v++) sum[t][v] = fma(c, row[v], sum[t][v]);
    }
  }
#pragma GCC unroll 8
  for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; v++) store(acc + t * acc_stride + v * kWidth, sum[t][v]);
}

static void gather_tile(float* acc, size_t acc_stride, const float* rows, size_t stride, size_t width,
                        const uint32_t* index, const float* coef, size_t n) {
  constexpr size_t kVectors = kPanelVectors * kTogether;
  size_t at = 0;
  for (; at + kVectors * kWidth <= width; at += kVectors * kWidth)
    gather_tile_columns<kVectors>(acc + at, acc_stride, rows + at, stride, index, coef, n);
  for (; at < width; at += kWidth) gather_tile_columns<1>(acc + at, acc_stride, rows + at, stride, index, coef, n);
}

static void adam(float* param, float* m, float* v, const float* gradient, size_t n, const AdamFactors& f) {
  const Vec scale = broadcast(f.gradient_scale);
  const Vec beta1 = broadcast(f.beta1);
  const Vec beta2 = broadcast(f.beta2);
  const Vec rest1 = broadcast(f.one_minus_beta1);
  const Vec rest2 = broadcast(f.one_minus_beta2);
  const Vec minus_step = broadcast(-f.step_size);
  const Vec inv_correction2 = broadcast(f.inv_correction2);
  const Vec epsilon = broadcast(f.epsilon);
  for (size_t at = 0; at < n; at += kWidth) {
    const Vec g = mul(load(gradient + at), scale);
    const Vec new_m = fma(beta1, load(m + at), mul(rest1, g));
    const Vec new_v = fma(beta2, load(v + at), mul(rest2, mul(g, g)));
    const Vec denominator = fma(square_root(new_v), inv_correction2, epsilon);
    store(m + at, new_m);
    store(v + at, new_v);
    store(param + at, fma(minus_step, divide(new_m, denominator), load(param + at)));
  }
}

static inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Any two inputs give bits that look unrelated.
static inline uint32_t mixed(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

static void adam_bf16(float* param, uint16_t* m, uint16_t* v, const float* gradient, size_t n, const AdamFactors& f,
                      uint32_t seed) {
  alignas(64) float wide_m[kBlock];
  alignas(64) float wide_v[kBlock];
  for (size_t start = 0; start < n; start += kBlock) {
    const size_t here = n - start < kBlock ? n - start : kBlock;
    for (size_t j = 0; j < here; j++) {
      wide_m[j] = float_of_bits(uint32_t{m[start + j]} << 16);
      wide_v[j] = float_of_bits(uint32_t{v[start + j]} << 16);
    }
    adam(param + start, wide_m, wide_v, gradient + start, here, f);
    for (size_t j = 0; j < here; j++) {
      const uint32_t chance = mixed(seed + static_cast<uint32_t>(start + j) * 0x9e3779b9u);
      m[start + j] = static_cast<uint16_t>((bits_of_float(wide_m[j]) + (chance & 0xffff)) >> 16);
      v[start + j] = static_cast<uint16_t>((bits_of_float(wide_v[j]) + (chance >> 16)) >> 16);
    }
  }
}

static Quantised quantise(const float* row, size_t n, int8_t* q) {
  constexpr float kSmallest = 7.88860905e-31f;  // 2⁻¹⁰⁰
  constexpr float kLargest = 3.40282347e+38f;
  constexpr size_t kParts = kLanes / kWidth;
  Vec largest = zero();
  Vec squares[kParts];
  for (size_t i = 0; i < kParts; i++) squares[i] = zero();
  for (size_t at = 0; at < n; at += kLanes)
    for (size_t i = 0; i < kParts; i++) {
      const Vec value = load(row + at + i * kWidth);
      largest = maximum(largest, absolute(value));
      squares[i] = fma(value, value, squares[i]);
    }
  float values[kWidth];
  store_unaligned(values, largest);
  float most = 0.0f;
  for (size_t i = 0; i < kWidth; i++) most = most > values[i] ? most : values[i];
  const float sum = tree_sum(squares);
  // A value that is no number fails the first comparison through the sum, an infinite one the second; times zero, both
  // are no numbers.
  if (!(sum >= 0.0f) || !(most <= kLargest) || most < kSmallest) {
    for (size_t i = 0; i < n; i++) q[i] = 0;
    return {0.0f, sum, sum >= 0.0f && most <= kLargest ? sum : sum * 0.0f};
  }
  const float scale = most / 127.0f;
  const Vec inverse = broadcast(127.0f / most);
  const Vec minus_scale = broadcast(-scale);
  Vec errors[kParts];
  for (size_t i = 0; i < kParts; i++) errors[i] = zero();
  for (size_t at = 0; at < n; at += kLanes)
    for (size_t i = 0; i < kParts; i++) {
      const Vec value = load(row + at + i * kWidth);
      const Vec rounded = round_to_even(mul(value, inverse));
      store_bytes(q + at + i * kWidth, rounded);
      const Vec error = fma(minus_scale, rounded, value);
      errors[i] = fma(error, error, errors[i]);
    }
  return {scale, sum, tree_sum(errors)};
}

constexpr size_t kPeakChains = 12;

static float peak(size_t iterations, float seed) {
  Vec chain[kPeakChains];
  const Vec a = broadcast(1.0f - 1e-7f);
  const Vec b = broadcast(seed);
  for (size_t i = 0; i < kPeakChains; i++) chain[i] = broadcast(static_cast<float>(i));
  for (size_t iteration = 0; iteration < iterations; iteration++)
#pragma GCC unroll 16
    for (size_t i = 0; i < kPeakChains; i++) chain[i] = fma(a, chain[i], b);
  Vec sum = chain[0];
  for (size_t i = 1; i < kPeakChains; i++) sum = add(sum, chain[i]);
  float values[kWidth];
  store_unaligned(values, sum);
  float total = 0.0f;
  for (size_t i = 0; i < kWidth; i++) total += values[i];
  return total;
}

constexpr size_t kFlopsPerPeakIteration = kPeakChains * kWidth * 2;

static constexpr Kernels kernels_named(const char* name) {
  return {name, kPanel, kFlopsPerPeakIteration, pack, product, score, dot, dot_rows, gather, gather_tile, adam, adam_bf16,
          quantise, peak};
}
