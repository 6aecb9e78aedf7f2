// The search that finds what the dense product finds, sooner. Integer dot products of quantised tokens and encoder rows
// say which entries could exceed their floors; of these few alone the exact fp32 dot product is computed, in the dense
// product's own order of sums. With the rigorous margin nothing is missed (docs/decisions/005-screening.md).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned_array.h"
#include "dense.h"
#include "hits.h"
#include "quantise.h"
#include "thread_pool.h"

namespace lapidary {

// What the last search cost.
struct ScreenCost {
  double quantise = 0;      // seconds: encoder rows that had changed
  double screen = 0;        // mean seconds of a worker in integer products
  double refine = 0;        // the same in exact products
  uint64_t candidates = 0;  // exact products
};

class Screen {
 public:
  Screen(const Kernels& kernels, const ScreenKernels& screen, ThreadPool& pool, size_t n_latents, size_t d_in);

  // Encoder rows that have changed.
  void forget(size_t first, size_t n) { latents_.forget(first, n); }

  // All latents (`latents.ids` null). `quantisation`: the part of the rigorous margin to take, 1 for all of it.
  void score(const TokenRows& tokens, const LatentRows& latents, float quantisation, DenseSearch& dense, HitSink& sink);

  const ScreenCost& cost() const { return cost_; }
  void reset_cost() { cost_ = ScreenCost(); }

 private:
  // What one worker holds of a unit of work: candidates by latent, tokens by their place in the slab.
  struct alignas(64) Workspace {
    AlignedArray<float> panel;         // bias, norm, floor [64] each
    std::vector<Candidate> tile;       // of one tile
    std::vector<uint32_t> found;       // of one panel: token << 6 | latent
    std::vector<uint32_t> begin;       // [latents of the group + 1]
    std::vector<uint32_t> tokens;      // [candidates]
    std::vector<float> sums;           // [candidates]
    std::vector<float> floors;         // [tokens of a segment]
    std::vector<Hit> hits;
    double screen = 0;
    double refine = 0;
    uint64_t candidates = 0;
  };

  // A group of panels against a segment of the slab's tokens.
  struct Unit {
    size_t first_panel;
    size_t end_panel;
    size_t first_token;
    size_t end_token;
  };

  void score_slab(const TokenRows& tokens, const LatentRows& latents, float quantisation, HitSink& sink);
  void find_candidates(const TokenRows& tokens, const LatentRows& latents, const Unit& unit, HitSink& sink,
                       Workspace& work);
  void refine(const LatentRows& latents, const Unit& unit, Workspace& work);
  void report(const TokenRows& tokens, const LatentRows& latents, const Unit& unit, HitSink& sink, int worker,
              Workspace& work);

  const Kernels& kernels_;
  const ScreenKernels& screen_;
  ThreadPool& pool_;
  const size_t n_latents_;
  const size_t d_pad_;
  QuantisedLatents latents_;
  QuantisedTokens tokens_;
  std::vector<Workspace> workspaces_;
  ScreenCost cost_;
};

}  // namespace lapidary
