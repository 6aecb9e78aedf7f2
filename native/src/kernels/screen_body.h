// The screen, written once over integer primitives. Included after a vec_*.h, which it shares with body.h, and after
// these definitions (see the files that include it):
//   Sums: integer sums of kWidth latents; kScreenTokens × kScreenVectors of them stay in registers. no_sums().
//   Weights load_weights(bytes [kWidth][4]); TokenStep token_step(four values of a token, kValueBytes each).
//   add_products(Sums, Weights, TokenStep); to_floats(Sums, offset): sum + offset, rounded to nearest.
//   not_at_most(a, b): a bit mask of !(a ≤ b). keep_in_register(Sums&): hides a value from the optimizer.
// Integer sums wrap: what they hold on the way does not matter, and their end, Σ q_x·q_w, is within ±127²·60 000.
// No include guard: that is the point.

// Σ q_x · (q_w + 128) of kScreenTokens tokens and kScreenVectors vectors of latents. A function of its own, so that
// sums stay in registers whatever is done with them afterwards.
static LAPIDARY_NO_INLINE void sum_products(const char* tokens, const uint8_t* weights, size_t steps, Sums* out) {
  Sums sums[kScreenTokens][kScreenVectors];
#pragma GCC unroll 8
  for (size_t t = 0; t < kScreenTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kScreenVectors; v++) sums[t][v] = no_sums();
  for (size_t step = 0; step < steps; step++) {
    Weights w[kScreenVectors];
#pragma GCC unroll 8
    for (size_t v = 0; v < kScreenVectors; v++) w[v] = load_weights(weights + v * kWidth * kStepDimensions);
#pragma GCC unroll 8
    for (size_t t = 0; t < kScreenTokens; t++) {
      const TokenStep x = token_step(tokens + t * kStepDimensions * kValueBytes);
#pragma GCC unroll 8
      for (size_t v = 0; v < kScreenVectors; v++) sums[t][v] = add_products(sums[t][v], w[v], x);
    }
    weights += kScreenPanel * kStepDimensions;
    tokens += kTileTokens * kStepDimensions * kValueBytes;
  }
#pragma GCC unroll 8
  for (size_t t = 0; t < kScreenTokens; t++)
#pragma GCC unroll 8
    for (size_t v = 0; v < kScreenVectors; v++) out[t * kScreenVectors + v] = sums[t][v];
}

// The most that p can be, and who may exceed a floor.
static inline Candidate* list_candidates(const ScreenTile& tile, const ScreenPanel& panel, size_t n_outliers,
                                         size_t token, size_t latent, const Sums& sums, Candidate* next) {
  const Vec scale = mul(load(panel.scale + latent), broadcast(tile.scale[token]));
  Vec value = mul(to_floats(sums, tile.offset[token]), scale);
  for (size_t o = 0; o < n_outliers; o++)
    value = fma(broadcast(tile.outliers[o * kTileTokens + token]), load(panel.outliers + o * kScreenPanel + latent),
                value);
  value = fma(broadcast(tile.per_length[token]), load(panel.length + latent), value);
  value = fma(broadcast(tile.per_error[token]), load(panel.error + latent), value);
  const Vec p = mul(add(value, load(panel.bias + latent)), load(panel.norm + latent));
  uint32_t mask = not_at_most(p, load(panel.latent_floor + latent)) & not_at_most(p, broadcast(tile.token_floor[token]));
  for (uint32_t i = 0; mask != 0; i++, mask >>= 1)
    if ((mask & 1) != 0) *next++ = {static_cast<uint16_t>(token), static_cast<uint16_t>(latent + i)};
  return next;
}

static size_t screen(const ScreenTile& tile, const ScreenPanel& panel, size_t steps, size_t n_outliers,
                     Candidate* out) {
  Candidate* next = out;
  Sums sums[kScreenTokens * kScreenVectors];
  for (size_t first = 0; first < kScreenPanel; first += kScreenVectors * kWidth)
    for (size_t token = 0; token < kTileTokens; token += kScreenTokens) {
      sum_products(static_cast<const char*>(tile.tokens) + token * kStepDimensions * kValueBytes,
                   panel.weights + first * kStepDimensions, steps, sums);
      for (size_t t = 0; t < kScreenTokens; t++)
        for (size_t v = 0; v < kScreenVectors; v++)
          next = list_candidates(tile, panel, n_outliers, token + t, first + v * kWidth, sums[t * kScreenVectors + v],
                                 next);
    }
  return static_cast<size_t>(next - out);
}

constexpr size_t kScreenChains = 12;

static int32_t screen_peak(size_t iterations, int32_t seed) {
  alignas(64) uint8_t bytes[kWidth * kStepDimensions];
  alignas(8) int8_t values[kStepDimensions * kValueBytes];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = static_cast<uint8_t>(seed + static_cast<int32_t>(i));
  for (size_t i = 0; i < sizeof values; i++) values[i] = static_cast<int8_t>(seed);
  const Weights w = load_weights(bytes);
  const TokenStep x = token_step(reinterpret_cast<const char*>(values));
  constexpr size_t kChains = kScreenTokens * kScreenVectors < kScreenChains ? kScreenTokens * kScreenVectors : kScreenChains;
  Sums chain[kChains];
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; i++) chain[i] = no_sums();
  for (size_t iteration = 0; iteration < iterations; iteration += kScreenChains / kChains)
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; i++) {
      chain[i] = add_products(chain[i], w, x);
      keep_in_register(chain[i]);
    }
  float total = 0.0f;
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; i++) {
    float floats[kWidth];
    store_unaligned(floats, to_floats(chain[i], 0));
    total += floats[0];
  }
  return total > 0.0f ? 1 : 0;
}

constexpr size_t kOpsPerPeakIteration = kScreenChains * kWidth * kStepDimensions * 2;

static constexpr ScreenKernels screen_named(const char* name) {
  return {name, kValueBytes, kOpsPerPeakIteration, screen, screen_peak};
}
