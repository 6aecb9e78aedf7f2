// The kernels, written once over a vector type `Vec` of `kWidth` floats. Included by portable.cc, avx2.cc,
// avx512.cc and neon.cc, each inside a namespace of its own and after defining (see those files):
//   kPanelVectors, kTogether (1 or 2), and the primitives of vec_*.h: Vec, kWidth, zero, load, store, store_unaligned,
//   broadcast, fma, add, mul, divide, square_root, absolute, maximum (of b where either is no number), round_to_even,
//   store_bytes (whole numbers within ±127 as int8), greater (a bit mask), tree_sum (the 16 lanes of a dot product),
//   transpose (kWidth × kWidth).
// No include guard: that is the point.

constexpr size_t kPanel = kPanelVectors * kWidth;
constexpr size_t kMaxSteps = kBlock / kLanes;

// Visiting lanes in this order turns the halving tree over lanes into a binary counter: a lane just finished is added
// to its neighbour, that pair to the pair before, and so on.
constexpr uint8_t kVisitOrder[kLanes] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
// Bit reversal is its own inverse: lane l is visited at kVisitOrder[l].

static inline size_t block_steps(size_t d_pad, size_t block_start) {
  const size_t left = (d_pad - block_start) / kLanes;
  return left < kMaxSteps ? left : kMaxSteps;
}

// Place of a dimension within a packed column: visits in order, kTogether of them side by side.
static inline size_t packed_place(size_t dimension, size_t d_pad) {
  const size_t block_start = dimension / kBlock * kBlock;
  const size_t steps = block_steps(d_pad, block_start);
  const size_t visit = kVisitOrder[dimension % kLanes];
  const size_t step = (dimension - block_start) / kLanes;
  return block_start + (visit / kTogether * steps + step) * kTogether + visit % kTogether;
}

static void pack(const float* const* rows, size_t width, size_t d_pad, float* out) {
  // Rows that come in whole vectors: kWidth × kWidth transposes. A line of each row is used up at once, because rows
  // a power of two apart compete for the same place in the cache.
  size_t whole = 0;
  while (whole < width && rows[whole] != nullptr) whole++;
  whole = whole / kWidth * kWidth;
  for (size_t dimension = 0; dimension < d_pad; dimension += kWidth) {
    size_t place[kWidth];
    for (size_t c = 0; c < kWidth; c++) place[c] = packed_place(dimension + c, d_pad) * width;
    for (size_t first = 0; first < whole; first += kWidth) {
      const float* from[kWidth];
      float* to[kWidth];
      for (size_t r = 0; r < kWidth; r++) from[r] = rows[first + r] + dimension;
      for (size_t c = 0; c < kWidth; c++) to[c] = out + place[c] + first;
      transpose(from, to);
    }
  }
  // The others in the order of their places.
  if (whole == width) return;
  for (size_t start = 0; start < d_pad; start += kBlock) {
    const size_t steps = block_steps(d_pad, start);
    for (size_t visit = 0; visit < kLanes; visit += kTogether)
      for (size_t step = 0; step < steps; step++)
        for (size_t l = 0; l < kTogether; l++, out += width) {
          const size_t dimension = start + step * kLanes + kVisitOrder[visit + l];
          for (size_t r = whole; r < width; r++) out[r] = rows[r] == nullptr ? 0.0f : rows[r][dimension];
        }
  }
}

using Accumulators = Vec[kTileTokens][kPanelVectors];

// kTogether lanes of one block: `steps` FMAs on each of their 6 × kPanel accumulators.
template <size_t kSteps>
static inline void accumulate_lanes(Accumulators (&acc)[kTogether], const float*& weights, const float*& tokens,
                                    size_t steps) {
#pragma GCC unroll 2
  for (size_t l = 0; l < kTogether; l++)
#pragma GCC unroll 8
    for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
      for (size_t v = 0; v < kPanelVectors; v++) acc[l][t][v] = zero();
  const size_t n = kSteps == 0 ? steps : kSteps;
#pragma GCC unroll 8
  for (size_t j = 0; j < n; j++) {
#pragma GCC unroll 2
    for (size_t l = 0; l < kTogether; l++) {
      Vec w[kPanelVectors];
#pragma GCC unroll 8
      for (size_t v = 0; v < kPanelVectors; v++) w[v] = load(weights + v * kWidth);
#pragma GCC unroll 8
      for (size_t t = 0; t < kTileTokens; t++) {
        const Vec x = broadcast(tokens[t]);
#pragma GCC unroll 8
        for (size_t v = 0; v < kPanelVectors; v++) acc[l][t][v] = fma(w[v], x, acc[l][t][v]);
      }
      weights += kPanel;
      tokens += kTileTokens;
    }
  }
}

static inline void add_from(Accumulators& acc, const float* memory) {
#pragma GCC unroll 8
  for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kPanelVectors; v++)
      acc[t][v] = add(load(memory + (t * kPanelVectors + v) * kWidth), acc[t][v]);
}

static inline void store_to(float* memory, const Accumulators& acc) {
#pragma GCC unroll 8
  for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kPanelVectors; v++) store(memory + (t * kPanelVectors + v) * kWidth, acc[t][v]);
}

// The binary counter: digit `kLevel` is either free, and takes what has been summed so far, or is added and carried.
// A full counter is the sum of a block.
template <unsigned kLevel>
static inline void carry(Accumulators& acc, unsigned visit, bool first_block, float (*partial)[kTileTokens * kPanel],
                         float* sum) {
  if constexpr (kLevel == 4) {
    if (!first_block) add_from(acc, sum);
    store_to(sum, acc);
  } else if ((visit >> kLevel & 1) == 0) {
    store_to(partial[kLevel], acc);
  } else {
    add_from(acc, partial[kLevel]);
    carry<kLevel + 1>(acc, visit, first_block, partial, sum);
  }
}

// The 16 lanes of one block into `sum` [6][kPanel]; `partial`: the binary counter's four digits.
template <size_t kSteps>
static inline void accumulate_block(const float*& weights, const float*& tokens, size_t steps, bool first_block,
                                    float (*partial)[kTileTokens * kPanel], float* sum) {
  for (unsigned visit = 0; visit < kLanes; visit += kTogether) {
    Accumulators acc[kTogether];
    accumulate_lanes<kSteps>(acc, weights, tokens, steps);
    if constexpr (kTogether == 2) {
#pragma GCC unroll 8
      for (size_t t = 0; t < kTileTokens; t++)
#pragma GCC unroll 8
        for (size_t v = 0; v < kPanelVectors; v++) acc[0][t][v] = add(acc[0][t][v], acc[1][t][v]);
      carry<1>(acc[0], visit, first_block, partial, sum);
    } else {
      carry<0>(acc[0], visit, first_block, partial, sum);
    }
  }
}

static size_t score(const Tile& tile, const Panel& panel, size_t d_pad, Hit* hits) {
  alignas(64) float partial[4][kTileTokens * kPanel];
  alignas(64) float sum[kTileTokens * kPanel];
  // 1. sum = tokens · weightsᵀ
  const float* weights = panel.weights;
  const float* tokens = tile.tokens;
  for (size_t start = 0; start < d_pad; start += kBlock) {
    const size_t steps = block_steps(d_pad, start);
    if (steps == kMaxSteps)
      accumulate_block<kMaxSteps>(weights, tokens, steps, start == 0, partial, sum);
    else
      accumulate_block<0>(weights, tokens, steps, start == 0, partial, sum);
  }
  // 2. h, p, and the few that exceed their floors
  size_t n = 0;
  for (size_t v = 0; v < kPanelVectors; v++) {
    const Vec bias = load(panel.bias + v * kWidth);
    const Vec norm = load(panel.norm + v * kWidth);
    const Vec latent_floor = load(panel.latent_floor + v * kWidth);
    for (size_t t = 0; t < kTileTokens; t++) {
      const Vec h = add(load(sum + t * kPanel + v * kWidth), bias);
      const Vec p = mul(h, norm);
      uint32_t mask = greater(p, latent_floor) & greater(p, broadcast(tile.token_floor[t]));
      if (mask == 0) continue;
      float h_values[kWidth];
      float p_values[kWidth];
      store_unaligned(h_values, h);
      store_unaligned(p_values, p);
      for (uint32_t i = 0; mask != 0; i++, mask >>= 1)
        if ((mask & 1) != 0)
          hits[n++] = {h_values[i], p_values[i], tile.first_token + static_cast<uint32_t>(t),
                       panel.first_latent + static_cast<uint32_t>(v * kWidth) + i};
    }
  }
  return n;
}

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
  return {name, kPanel, kFlopsPerPeakIteration, pack, score, dot, dot_rows, gather, gather_tile, adam, adam_bf16, quantise, peak};
}
