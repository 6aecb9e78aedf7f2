// Pre-activations as a dense fp32 product, tile of tokens by panel of latents. `score` searches each tile at once for the
// entries worth keeping: a tokens × latents matrix never exists. The screen (screen.h) finds the same hits sooner; this is
// for few latents (AuxK), few tokens, and where too much would pass a screen. `product` keeps all, for as many latents as
// its caller has room for.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned_array.h"
#include "hits.h"
#include "kernels/kernels.h"
#include "thread_pool.h"

namespace lapidary {

class DenseSearch {
 public:
  DenseSearch(const Kernels& kernels, ThreadPool& pool, size_t d_pad);

  // Tokens whose packed rows fit the cache; longer batches are cut into segments of this many.
  size_t segment_tokens() const { return segment_tokens_; }

  void score(const TokenRows& tokens, const LatentRows& latents, HitSink& sink);

  // h[i·stride + t] of latent i and token t, counted from the first ones here; norms and floors play no part.
  void product(const TokenRows& tokens, const LatentRows& latents, float* h, size_t stride);

 private:
  struct Workspace {
    AlignedArray<float> rows;    // [kTileTokens][d_pad]
    AlignedArray<float> panel;   // [d_pad][panel_latents]
    AlignedArray<float> latent;  // bias, norm, floor [panel_latents] each
    AlignedArray<Hit> hits;      // [kTileTokens · panel_latents]
    AlignedArray<float> h;       // [kTileTokens][panel_latents]
  };

  // visit(panel, first token of the tile, its packed rows, workspace, worker) for every panel and tile.
  template <class Visit>
  void visit_tiles(const TokenRows& tokens, const LatentRows& latents, Visit visit);
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
