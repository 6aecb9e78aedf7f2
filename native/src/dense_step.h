// One optimizer step of a standard, gated or jumprelu SAE, whose gradients are dense. Twin of
// src/kernels/reference/dense/train-step.ts. With G = (2/B)(x̂ − x), G' the same of a gated SAE's second reconstruction
// x̂' = relu(g)·wDec + bDec, and n = ‖wDec[i]‖:
//   L = (1/B) Σ_b ‖x̂ − x‖² + sparsity + aux
//   dwDec[i] = ∂L/∂n · wDec[i]/n + Σ_b a·G + Σ_b relu(g)·G'        dwEnc[i] = Σ_b dh[b,i]·c[b]
//   dbDec    = Σ_b G + Σ_b G' − [applyBDecToInput]·Σ_i (Σ_b dh[b,i])·wEnc[i]
//
// Latents are taken a slab at a time: pre-activations and what comes back to them exist for one slab, [latents][B].
// Forward, the slabs' latents are added to the reconstructions, ascending; backward, the slabs are computed again, but for
// the last one, which is still there. Columns that are zero for six rows at once are left out of every product, so that a
// step costs little more than its pre-activations once few latents fire. The gradients of both matrices are held: the
// global norm must be known before anything moves.
#pragma once
#include <vector>

#include "aligned_array.h"
#include "backward.h"
#include "batch.h"
#include "engine.h"
#include "rule.h"

namespace lapidary {

class DenseStep {
 public:
  explicit DenseStep(Engine& engine);
  StepResult run(const float* x, size_t n_tokens, const StepOptions& options);

 private:
  // Tokens, or latents, that a worker takes together, in tiles, and columns that they share in the second-level cache.
  static constexpr size_t kTokenTiles = 16;
  static constexpr size_t kTokensPerRange = kTokenTiles * kTileTokens;
  static constexpr size_t kLatentsPerRange = 8 * kTileTokens;
  static constexpr size_t kColumns = 256;

  // Consecutive latents.
  struct Slab {
    size_t first;
    size_t n;
  };

  // x̂, and once it is measured the signal G.
  struct Reconstruction {
    AlignedArray<float> rows;  // [B, rounded up to tiles][d_pad]
    std::vector<float> sse;    // [B]
  };

  // The columns of six rows that are not zero in all of them.
  struct Columns {
    std::vector<uint32_t> ids;
    std::vector<float> values;  // [columns][6]
    size_t n = 0;

    // values[r·row_stride + j·column_stride] of rows r < n_rows, columns j < n_columns, named first_id + j
    void collect(const float* values, size_t n_rows, size_t row_stride, size_t column_stride, size_t n_columns,
                 size_t first_id);
  };

  struct Workspace {
    AlignedArray<float> values;  // of a block: activations, or gates
    std::vector<Columns> tiles;  // [kTokenTiles]
    std::vector<uint32_t> tokens;  // at which a latent is live
  };

  float* at(AlignedArray<float>& matrix, const Slab& slab, size_t latent) const {
    return matrix.data() + (latent - slab.first) * stride_;
  }

  // dense_step.cc
  void plan(size_t n_tokens);
  Slab slab(size_t index) const;
  void pre_activations(const Slab& slab, const Rule& rule);
  void reconstruct(const Slab& slab, const Rule& rule);
  void reconstruct_tokens(const Slab& slab, const Rule& rule, size_t first, size_t n, Workspace& work);
  void measure_lengths();
  void measure(Reconstruction& reconstruction);
  StepTerms terms_of(const StepOptions& options) const;
  void describe(const StepOptions& options, StepResult& result) const;
  // Adds columns, times the rows that they name, to the six rows of each tile.
  void add_columns(const std::vector<Columns>& tiles, size_t n_tiles, const float* rows, float* to,
                   size_t to_stride) const;

  // dense_gradients.cc
  void differentiate(const Slab& slab, const Rule& rule, const StepTerms& terms);
  bool is_crowded(const Slab& slab, const Rule& rule);
  void differentiate_latent(const Slab& slab, const Rule& rule, size_t latent, Workspace& work);
  void sum_rows(const Slab& slab, const Rule& rule, size_t first, size_t n, Workspace& work);
  void sum_b_dec();
  double gradient_norm() const;
  void update(const StepOptions& options, double grad_norm);

  Engine& engine_;
  const size_t d_pad_;
  const size_t d_sae_;
  const bool is_gated_;
  size_t n_tokens_ = 0;
  size_t stride_ = 0;        // of a latent's row in h_, dh_ and d_gate_
  size_t slab_latents_ = 0;

  Batch batch_;
  AlignedArray<float> h_;       // [slab][stride]
  AlignedArray<float> dh_;      // [slab][stride] ∂/∂a, then ∂L/∂h
  AlignedArray<float> d_gate_;  // [slab][stride]; gated
  Reconstruction main_;
  Reconstruction second_;             // gated
  std::vector<double> lengths_;       // [B] ‖a·n‖_p, where p is not 1
  std::vector<uint32_t> n_active_;    // [B]
  std::vector<Pulled> pulled_;        // [dSae]
  AlignedArray<float> gradient_;      // [dSae, rounded up to tiles][2][d_pad]: dwDec[i], dwEnc[i]
  std::vector<float> squares_;        // [2][dSae]: ‖dwDec[i]‖², ‖dwEnc[i]‖²
  AlignedArray<float> b_enc_gradient_;  // [latents_pad]
  AlignedArray<float> b_dec_gradient_;  // [d_pad]
  Extra extra_gradient_;
  AlignedArray<float> pre_bias_;  // [blocks of 64 latents][d_pad]: Σ (Σ_b dh)·wEnc[i]
  std::vector<Workspace> workspaces_;
};

}  // namespace lapidary
