// One optimizer step, from batch to moved weights. Equations: SAELens 6.18 `SAETrainer._train_step`. With C = h on
// selected entries (the decoder norm cancels between forward and backward), G_m = (2/B)(x̂_m − x) for each width m, and
// S_g = Σ_{m ≥ g} G_m what a latent of group g (widths[g−1] ≤ i < widths[g]) sees:
//   dwDec[i] = Σ_b C[b,i]·S[b]      dh[b,i] = ⟨wDec[i], S[b]⟩
//   dwEnc[i] = Σ_b dh[b,i]·c[b]     dbEnc[i] = Σ_b dh[b,i]
//   dbDec = Σ_b S_0[b] − [applyBDecToInput]·Σ_i dbEnc[i]·wEnc[i]
// The auxiliary loss is a second list of entries with a signal of its own.
#pragma once
#include <vector>

#include "aligned_array.h"
#include "batch.h"
#include "engine.h"

namespace lapidary {

class Update;

class TrainStep {
 public:
  explicit TrainStep(Engine& engine);
  StepResult run(const float* x, size_t n_tokens, const StepOptions& options);

 private:
  // Entries with what reaches them: the selection, or the dead latents' reconstruction of the residual.
  struct Part {
    Entries entries;
    std::vector<float> dh;            // [n], by token
    std::vector<float> dh_by_latent;  // [n], by latent
    AlignedArray<float> signal;       // [groups][B][d_pad]
  };

  struct Workspace {
    AlignedArray<float> row;       // [d_pad]
    AlignedArray<float> block;     // [2][kBlock]: a block of dwDec[i] and of dwEnc[i], or of a reconstruction
    std::vector<uint32_t> ids;
    std::vector<float> coef;
    std::vector<Hit> hits;
  };

  // train_step.cc: the phases in their order
  void audit(const StepOptions& options, StepResult& result);
  void reconstruct(const StepOptions& options);
  void bound_groups();
  void reconstruct_block(size_t token, size_t start, size_t width, Workspace& work);
  void order_dh();
  void sum_losses(StepResult& result) const;
  void describe_selection(StepResult& result) const;

  // aux_loss.cc: which latents, and the loss where the selected are few among the dead
  void auxiliary(const StepOptions& options, StepResult& result);
  void auxiliary_sparse(size_t k_aux, float signal_scale);
  void auxiliary_token(size_t token, float signal_scale, Workspace& work);

  // aux_dense.cc: the same where they are many
  void auxiliary_dense(size_t k_aux, float signal_scale);
  void select_dead(size_t token, size_t k_aux, Workspace& work);
  void reconstruct_residuals(size_t first, size_t n, float signal_scale, Workspace& work);
  void dead_gradients(size_t first, size_t n, Workspace& work);

  // gradients.cc
  void measure_gradients(StepResult& result);
  void sum_b_dec();
  void update(const StepOptions& options, double grad_norm);
  void measure_rows(size_t first, size_t n, size_t start, size_t width, Workspace& work);
  void update_rows(size_t first, size_t n, size_t start, size_t width, const Update& update, Workspace& work);
  void add_entries(const Part& part, size_t place, size_t group, size_t start, size_t width, float* d_dec,
                   float* d_enc) const;
  void block_gradients(size_t latent, size_t start, size_t width, float* d_dec, float* d_enc) const;
  bool has_gradient(size_t latent) const;
  float sum_dh(const Part& part, size_t place, float sum = 0.0f) const;
  float bias_gradient(size_t latent) const;
  size_t group_of(size_t latent) const;

  size_t n_groups() const { return engine_.shape_.widths.size(); }
  // Dimensions [start, start + width) of a sweep: all rows are visited for these before any is for the next ones, so
  // that what is gathered from everywhere stays in the cache.
  template <class Visit>
  void sweep(size_t most, Visit visit) const {
    for (size_t start = 0; start < d_pad_; start += most) visit(start, d_pad_ - start < most ? d_pad_ - start : most);
  }
  size_t gradient_sweep() const;

  float* signal(Part& part, size_t group, size_t token) const {
    return part.signal.data() + (group * n_tokens_ + token) * d_pad_;
  }

  Engine& engine_;
  const size_t d_pad_;
  const size_t d_sae_;
  size_t n_tokens_ = 0;
  bool with_aux_ = false;

  Batch batch_;
  AlignedArray<float> residual_;  // [B][d_pad], x̂ − x at full width; only with an auxiliary loss
  Part main_;
  Part aux_;
  std::vector<uint32_t> dead_ids_;        // [nDead], ascending
  std::vector<uint32_t> place_among_dead_;  // [dSae]; nDead: not dead
  std::vector<uint32_t> group_begin_;       // [B][groups + 1]: entries of a token by group
  std::vector<float> token_sse_;          // [groups][B]
  std::vector<float> token_aux_sse_;      // [B]
  bool aux_is_dense_ = false;
  AlignedArray<float> dead_h_;            // [B][nDead], 0 where not selected
  AlignedArray<float> dead_dh_;           // [B][nDead], the same
  AlignedArray<uint8_t> dead_selected_;   // [B][nDead]
  AlignedArray<float> dead_gradient_;     // [nDead, rounded up to tiles][2][d_pad]: dwDec[i], dwEnc[i]
  std::vector<float> dead_bias_gradient_;  // [nDead]
  std::vector<uint32_t> every_token_;     // 0 … B−1

  AlignedArray<float> b_enc_gradient_;  // [latents_pad]
  AlignedArray<float> b_dec_gradient_;  // [d_pad]
  std::vector<float> squares_;          // [2][dSae]: ‖dwDec[i]‖², ‖dwEnc[i]‖²; then ‖wDec[i]‖²
  AlignedArray<float> pre_bias_;        // [blocks of 64 latents][d_pad]: Σ dbEnc[i]·wEnc[i]
  std::vector<Workspace> workspaces_;
};

}  // namespace lapidary
