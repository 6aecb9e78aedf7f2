// int8 copies of what the screen multiplies, with what is lost by rounding:
//   w = s_w·q_w + e_w        c = s_c·q_c + e_c
// A few input dimensions that carry far more variance than the rest are left out of both (zeros) and kept in fp32: they
// would widen every token's scale.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aligned_array.h"
#include "hits.h"
#include "kernels/kernels.h"
#include "thread_pool.h"

namespace lapidary {

// An upper bound of ‖v‖ from a sum of n squares that was rounded in any way. Never 0: see docs/decisions/005.
float length_bound(float squares, size_t n);

// The share of ‖c‖‖w‖ by which an fp32 dot product of n values may err, with room for the screen's own rounding.
float rounding_share(size_t n);

// The encoder.
class QuantisedLatents {
 public:
  QuantisedLatents(size_t n_latents, size_t d_in);

  // These rows have changed.
  void forget(size_t first, size_t n);

  // Quantises what has changed. If that is everything, the fp32 dimensions are chosen anew, from `sample`.
  void refresh(ThreadPool& pool, const Kernels& kernels, const float* w_enc, const TokenRows& sample);

  const std::vector<uint32_t>& outliers() const { return outliers_; }
  size_t n_panels() const { return stale_.size(); }
  size_t steps() const { return d_pad_ / kStepDimensions; }
  // Everything but bias, norm and floor.
  ScreenPanel panel(size_t at) const;

 private:
  void choose_outliers(const TokenRows& sample);
  void quantise_panel(size_t at, const Kernels& kernels, const float* w_enc, float* row, int8_t* bytes);

  const size_t n_latents_;
  const size_t d_in_;
  const size_t d_pad_;
  AlignedArray<uint8_t> weights_;  // [panels][steps][64][4]
  AlignedArray<float> scale_;      // [panels · 64]
  AlignedArray<float> length_;
  AlignedArray<float> error_;
  AlignedArray<float> outlier_weights_;  // [panels][kMaxOutliers][64]
  std::vector<uint8_t> stale_;           // [panels]
  std::vector<uint32_t> outliers_;       // ascending
};

// A slab of tokens.
class QuantisedTokens {
 public:
  QuantisedTokens(const Kernels& kernels, const ScreenKernels& screen, size_t d_in, int n_workers);

  // `quantisation`: the part of the Cauchy–Schwarz bound on quantisation errors that the margin takes; 1: all of it.
  void load(ThreadPool& pool, const TokenRows& tokens, const std::vector<uint32_t>& outliers, float quantisation);

  // c, rows of d_pad.
  const float* rows() const { return rows_; }
  size_t n_tiles() const { return n_tiles_; }
  // Everything but the floors.
  ScreenTile tile(size_t at) const;

 private:
  struct Workspace {
    AlignedArray<float> row;
    AlignedArray<int8_t> bytes;
  };
  void quantise_token(size_t token, const float* row, const std::vector<uint32_t>& outliers, float quantisation,
                      Workspace& work);

  const Kernels& kernels_;
  const size_t value_bytes_;
  const size_t d_pad_;
  size_t n_tiles_ = 0;
  size_t n_outliers_ = 0;
  const float* rows_ = nullptr;
  AlignedArray<float> centred_;    // [n][d_pad], where the caller's rows cannot be used as they are
  AlignedArray<uint8_t> packed_;   // [tiles][steps][6][4] values
  AlignedArray<int32_t> offset_;   // [tiles · 6], like the following
  AlignedArray<float> scale_;
  AlignedArray<float> per_length_;
  AlignedArray<float> per_error_;
  AlignedArray<float> outlier_values_;  // [tiles][kMaxOutliers][6]
  std::vector<Workspace> workspaces_;
};

}  // namespace lapidary
