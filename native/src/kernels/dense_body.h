// The dense product: rows packed in the order in which their dot products visit them, and tiles of tokens scored against
// panels of latents. Part of body.h, which includes it; no guard.

constexpr size_t kPanel = kPanelVectors * kWidth;

// Visiting lanes in this order turns the halving tree over lanes into a binary counter: a lane just finished is added
// to its neighbour, that pair to the pair before, and so on.
constexpr uint8_t kVisitOrder[kLanes] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
// Bit reversal is its own inverse: lane l is visited at kVisitOrder[l].

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

// sum [6][kPanel] = tokens · weightsᵀ
static inline void multiply(const float* tokens, const float* weights, size_t d_pad, float* sum) {
  alignas(64) float partial[4][kTileTokens * kPanel];
  for (size_t start = 0; start < d_pad; start += kBlock) {
    const size_t steps = block_steps(d_pad, start);
    if (steps == kMaxSteps)
      accumulate_block<kMaxSteps>(weights, tokens, steps, start == 0, partial, sum);
    else
      accumulate_block<0>(weights, tokens, steps, start == 0, partial, sum);
  }
}

static void product(const Tile& tile, const Panel& panel, size_t d_pad, float* h) {
  multiply(tile.tokens, panel.weights, d_pad, h);
  for (size_t t = 0; t < kTileTokens; t++)
    for (size_t v = 0; v < kPanelVectors; v++) {
      float* at = h + t * kPanel + v * kWidth;
      store(at, add(load(at), load(panel.bias + v * kWidth)));
    }
}

static size_t score(const Tile& tile, const Panel& panel, size_t d_pad, Hit* hits) {
  alignas(64) float sum[kTileTokens * kPanel];
  multiply(tile.tokens, panel.weights, d_pad, sum);
  // h, p, and the few that exceed their floors
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
