// Pre-activations as a dense product, tile of tokens by panel of latents, each tile searched at once for the entries
// worth keeping: a tokens × latents matrix never exists. This is the step that a low-precision screening replaces:
// whatever finds the same hits may stand in its place.
//   c = x − centre        h = c · wEncᵀ + bEnc        p = h · n
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned_array.h"
#include "kernels/kernels.h"
#include "thread_pool.h"

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
  const float* bias;     // [dSae]
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

class Encoder {
 public:
  Encoder(const Kernels& kernels, ThreadPool& pool, size_t d_pad);

  // Tokens whose packed rows fit the cache; longer batches are cut into segments of this many.
  size_t segment_tokens() const { return segment_tokens_; }

  void score(const TokenRows& tokens, const LatentRows& latents, HitSink& sink);

 private:
  struct Workspace {
    AlignedArray<float> rows;    // [kTileTokens][d_pad]
    AlignedArray<float> panel;   // [d_pad][panel_latents]
    AlignedArray<float> latent;  // bias, norm, floor [panel_latents] each
    AlignedArray<Hit> hits;      // [kTileTokens · panel_latents]
  };

  void score_segment(const TokenRows& tokens, const LatentRows& latents, HitSink& sink);
  void pack_tile(const TokenRows& tokens, size_t tile, Workspace& work);
  Panel pack_panel(const LatentRows& latents, size_t panel, Workspace& work) const;

  const Kernels& kernels_;
  ThreadPool& pool_;
  const size_t d_pad_;
  size_t segment_tokens_;
  AlignedArray<float> packed_tokens_;  // [tiles][d_pad][kTileTokens]
  std::vector<Workspace> workspaces_;
};

}  // namespace lapidary
