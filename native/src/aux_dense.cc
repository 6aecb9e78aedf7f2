// AuxK where many of the dead are selected: activations and their gradients as [B][nDead] matrices, and every product
// over all dead rows, with zeros for those not selected. Order of sums: as for sparse entries, zeros between them.
#include <algorithm>
#include <cstring>
#include <limits>

#include "ranges.h"
#include "train_step.h"

namespace lapidary {
namespace {

// Tokens, latents and dimensions worked on together, so that what they share stays in the second-level cache.
constexpr size_t kTokensPerRange = 16 * kTileTokens;
constexpr size_t kLatentsPerRange = 8 * kTileTokens;
constexpr size_t kRowsPerBlock = 256;

// Puts every h where it belongs.
class Matrix : public HitSink {
 public:
  Matrix(float* values, uint8_t* present, size_t n_latents)
      : values_(values), present_(present), n_latents_(n_latents) {}
  void floors(size_t, size_t n, float* out) override {
    std::fill(out, out + n, -std::numeric_limits<float>::infinity());
  }
  void take(int, const Hit* hits, size_t n) override {
    for (size_t i = 0; i < n; i++) {
      const size_t at = hits[i].token * n_latents_ + hits[i].latent;
      values_[at] = hits[i].h;
      if (present_ != nullptr) present_[at] = 1;
    }
  }

 private:
  float* values_;
  uint8_t* present_;
  size_t n_latents_;
};

}  // namespace

void TrainStep::auxiliary_dense(size_t k_aux, float signal_scale) {
  ThreadPool& pool = engine_.pool_;
  const size_t n_dead = dead_ids_.size();
  dead_h_.reserve(n_tokens_ * n_dead);
  dead_dh_.reserve(n_tokens_ * n_dead);
  dead_selected_.reserve(n_tokens_ * n_dead);
  dead_gradient_.reserve(round_up(n_dead, kTileTokens) * 2 * d_pad_);
  dead_bias_gradient_.resize(n_dead);
  std::memset(dead_selected_.data(), 0, n_tokens_ * n_dead);

  // 1. h, and the k largest p of each token
  LatentRows latents = engine_.latent_rows();
  latents.ids = dead_ids_.data();
  latents.n = n_dead;
  Matrix h(dead_h_.data(), dead_selected_.data(), n_dead);
  engine_.dense_.score({batch_.c(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, latents, h);
  for_each(pool, n_tokens_, kTokensAtOnce, [&](size_t token, int worker) {
    select_dead(token, k_aux, workspaces_[static_cast<size_t>(worker)]);
  });

  // 2. r̂, its loss and its signal
  for_ranges(pool, n_tokens_, kTokensPerRange, [&](size_t first, size_t end, int worker) {
    reconstruct_residuals(first, end - first, signal_scale, workspaces_[static_cast<size_t>(worker)]);
  });

  // 3. dh[b, i] = ⟨wDec[i], signal[b]⟩
  LatentRows decoder{};
  decoder.weights = engine_.weights_.w_dec.data();
  decoder.ids = dead_ids_.data();
  decoder.n = n_dead;
  std::memset(dead_dh_.data(), 0, n_tokens_ * n_dead * sizeof(float));
  Matrix dh(dead_dh_.data(), nullptr, n_dead);
  engine_.dense_.score({aux_.signal.data(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, decoder, dh);
  for_each(pool, n_tokens_, kTokensAtOnce, [&](size_t token, int) {
    for (size_t at = token * n_dead; at < (token + 1) * n_dead; at++)
      if (dead_selected_[at] == 0) dead_dh_[at] = 0.0f;
  });

  // 4. dwDec, dwEnc, dbEnc of the dead, on top of what the selection gives them
  every_token_.resize(n_tokens_);
  for (size_t t = 0; t < n_tokens_; t++) every_token_[t] = static_cast<uint32_t>(t);
  for_ranges(pool, n_dead, kLatentsPerRange, [&](size_t first, size_t end, int worker) {
    dead_gradients(first, end - first, workspaces_[static_cast<size_t>(worker)]);
  });
}

// Leaves h of the k largest p, ties to the lowest latent, and zeros.
void TrainStep::select_dead(size_t token, size_t k_aux, Workspace& work) {
  const size_t n_dead = dead_ids_.size();
  float* h = dead_h_.data() + token * n_dead;
  uint8_t* selected = dead_selected_.data() + token * n_dead;
  const bool rescale = engine_.shape_.rescale_by_decoder_norm;
  work.hits.clear();
  for (uint32_t i = 0; i < n_dead; i++) {
    if (selected[i] != 0)
      work.hits.push_back({h[i], rescale ? h[i] * engine_.norms_[dead_ids_[i]] : h[i], 0, i});
    else
      h[i] = 0.0f;
  }
  if (work.hits.size() <= k_aux) return;
  std::nth_element(work.hits.begin(), work.hits.begin() + static_cast<std::ptrdiff_t>(k_aux), work.hits.end(),
                   [](const Hit& a, const Hit& b) { return a.p != b.p ? a.p > b.p : a.latent < b.latent; });
  for (size_t i = k_aux; i < work.hits.size(); i++) {
    h[work.hits[i].latent] = 0.0f;
    selected[work.hits[i].latent] = 0;
  }
}

// r̂ = bDec + Σ h_i·wDec[i] for tokens first … first + n; then the error r̂ − e, its square, and the signal.
void TrainStep::reconstruct_residuals(size_t first, size_t n, float signal_scale, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const size_t n_dead = dead_ids_.size();
  const size_t n_tiles = chunks_of(n, kTileTokens);
  work.coef.assign(n_tiles * n_dead * kTileTokens, 0.0f);  // [tiles][nDead][6]
  for (size_t t = 0; t < n; t++) {
    const float* h = dead_h_.data() + (first + t) * n_dead;
    float* coef = work.coef.data() + t / kTileTokens * n_dead * kTileTokens + t % kTileTokens;
    for (size_t i = 0; i < n_dead; i++) coef[i * kTileTokens] = h[i];
  }
  float* rows = aux_.signal.data() + first * d_pad_;  // whole tiles: the array is rounded up to them
  for (size_t t = 0; t < n_tiles * kTileTokens; t++)
    std::memcpy(rows + t * d_pad_, engine_.weights_.b_dec.data(), d_pad_ * sizeof(float));
  for (size_t start = 0; start < d_pad_; start += kBlock)
    for (size_t i = 0; i < n_dead; i += kRowsPerBlock)
      for (size_t tile = 0; tile < n_tiles; tile++)
        kernels.gather_tile(rows + tile * kTileTokens * d_pad_ + start, d_pad_, engine_.weights_.w_dec.data() + start,
                            d_pad_, std::min(kBlock, d_pad_ - start), dead_ids_.data() + i,
                            work.coef.data() + (tile * n_dead + i) * kTileTokens, std::min(kRowsPerBlock, n_dead - i));
  for (size_t t = 0; t < n; t++) {
    float* error = rows + t * d_pad_;
    const float* residual = residual_.data() + (first + t) * d_pad_;  // −e
    for (size_t j = 0; j < d_pad_; j++) error[j] = error[j] + residual[j];
    token_aux_sse_[first + t] = kernels.dot(error, error, d_pad_);
    for (size_t j = 0; j < d_pad_; j++) error[j] = error[j] * signal_scale;
  }
}

// Rows of dwDec and dwEnc and dbEnc of the dead first … first + n.
void TrainStep::dead_gradients(size_t first, size_t n, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const size_t n_dead = dead_ids_.size();
  const size_t n_tiles = chunks_of(n, kTileTokens);
  const size_t stride = 2 * d_pad_;
  float* rows = dead_gradient_.data() + first * stride;
  std::memset(rows, 0, n_tiles * kTileTokens * stride * sizeof(float));
  for (size_t i = 0; i < n; i++)
    for (size_t start = 0; start < d_pad_; start += kBlock)
      add_entries(main_, dead_ids_[first + i], group_of(dead_ids_[first + i]), start, std::min(kBlock, d_pad_ - start),
                  rows + i * stride + start, rows + i * stride + d_pad_ + start);

  const auto add = [&](const AlignedArray<float>& coefficients, const float* tokens, size_t to) {
    work.coef.assign(n_tiles * n_tokens_ * kTileTokens, 0.0f);  // [tiles][B][6]
    for (size_t t = 0; t < n_tokens_; t++)
      for (size_t i = 0; i < n; i++)
        work.coef[(i / kTileTokens * n_tokens_ + t) * kTileTokens + i % kTileTokens] =
            coefficients[t * n_dead + first + i];
    for (size_t start = 0; start < d_pad_; start += kBlock)
      for (size_t t = 0; t < n_tokens_; t += kRowsPerBlock)
        for (size_t tile = 0; tile < n_tiles; tile++)
          kernels.gather_tile(rows + tile * kTileTokens * stride + to + start, stride, tokens + start, d_pad_,
                              std::min(kBlock, d_pad_ - start), every_token_.data() + t,
                              work.coef.data() + (tile * n_tokens_ + t) * kTileTokens,
                              std::min(kRowsPerBlock, n_tokens_ - t));
  };
  add(dead_h_, aux_.signal.data(), 0);
  add(dead_dh_, batch_.c(), d_pad_);
  for (size_t i = 0; i < n; i++) {
    float sum = sum_dh(main_, dead_ids_[first + i]);
    for (size_t t = 0; t < n_tokens_; t++) sum += dead_dh_[t * n_dead + first + i];
    dead_bias_gradient_[first + i] = sum;
  }
}

}  // namespace lapidary
