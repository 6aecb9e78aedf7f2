// What a search for entries takes and gives: tokens and latents in, hits out. Two searches exist, the dense product
// (dense.h) and the screen (screen.h); they find the same hits.
//   c = x − centre        h = c · wEncᵀ + bEnc        p = h · n
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace lapidary {

// Tokens to encode, rows of x as they came: [n][d].
struct TokenRows {
  const float* x;
  size_t stride;
  size_t d;
  const float* centre;  // [d], subtracted; null: nothing is
  size_t first;
  size_t n;
};

// Latents to score.
struct LatentRows {
  const float* weights;  // [dSae][d_pad]
  const float* bias;     // [dSae]; null: zeros
  const float* norm;     // [dSae]; null: ones
  const float* floor;    // [dSae]; null: −inf
  const uint32_t* ids;   // rows to take, in this order; null: all
  size_t n;              // hits name latents by their place 0 … n−1
};

// Receives the entries whose p exceeds the floors of both their latent and their token. Called by all workers at once,
// each with its own number; the order of calls is not determined.
class HitSink {
 public:
  virtual ~HitSink() = default;
  // Floors for the tokens first … first + n of a tile; may rise while the work goes on.
  virtual void floors(size_t first, size_t n, float* out) = 0;
  virtual void take(int worker, const Hit* hits, size_t n) = 0;
};

}  // namespace lapidary
