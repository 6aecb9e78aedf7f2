// AuxK: the dead latents reconstruct the residual e = x − x̂ (held constant), so that they get a gradient at all.
//   k₀ = ⌊d/2⌋   scale = min(nDead/k₀, 1)   kₐ = min(k₀, nDead)
//   A(b) = the kₐ dead latents with the largest p, of any sign
//   r̂ = bDec + Σ_{i ∈ A} h_i·wDec[i]   aux = coefficient·scale·(1/B) Σ_b ‖r̂ − e‖²
#include <algorithm>
#include <cstring>
#include <limits>

#include "ranges.h"
#include "train_step.h"

namespace lapidary {
namespace {

// Dense products are taken while at least one dead latent in so many is selected.
constexpr size_t kDenseShare = 4;

}  // namespace

void TrainStep::auxiliary(const StepOptions& options, StepResult& result) {
  dead_ids_.clear();
  if (options.dead != nullptr)
    for (size_t i = 0; i < d_sae_; i++)
      if (options.dead[i] != 0) dead_ids_.push_back(static_cast<uint32_t>(i));
  const size_t n_dead = dead_ids_.size();
  const size_t half = engine_.shape_.d_in / 2;
  const size_t k_aux = std::min(half, n_dead);
  with_aux_ = n_dead > 0;
  aux_.entries = Entries();
  if (!with_aux_) return;

  std::fill(place_among_dead_.begin(), place_among_dead_.end(), static_cast<uint32_t>(n_dead));
  for (size_t place = 0; place < n_dead; place++) place_among_dead_[dead_ids_[place]] = static_cast<uint32_t>(place);
  const double scale = half == 0 ? 1.0 : std::min(static_cast<double>(n_dead) / static_cast<double>(half), 1.0);
  const double weight = options.aux_coefficient * scale / static_cast<double>(n_tokens_);
  aux_.signal.reserve(round_up(n_tokens_, kTileTokens) * d_pad_);
  token_aux_sse_.resize(n_tokens_);
  aux_is_dense_ = n_dead <= kDenseShare * k_aux;
  if (aux_is_dense_)
    auxiliary_dense(k_aux, static_cast<float>(2.0 * weight));
  else
    auxiliary_sparse(k_aux, static_cast<float>(2.0 * weight));
  double sum = 0;
  for (size_t t = 0; t < n_tokens_; t++) sum += static_cast<double>(token_aux_sse_[t]);
  result.aux = weight * sum;
}

void TrainStep::auxiliary_sparse(size_t k_aux, float signal_scale) {
  // 1. A(b) by the dense product over dead rows alone; hits name latents by their place among the dead
  LatentRows latents = engine_.latent_rows();
  latents.ids = dead_ids_.data();
  latents.n = dead_ids_.size();
  std::vector<Hit> hits;
  if (k_aux > 0)
    hits = engine_.select_topk({batch_.c(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, latents, k_aux,
                               -std::numeric_limits<float>::infinity());
  aux_.entries = order_entries(engine_.pool_, hits, n_tokens_, dead_ids_.size());
  // 2. r̂, its loss and its gradients, token by token
  aux_.dh_by_latent.resize(aux_.entries.size());
  for_each(engine_.pool_, n_tokens_, kTokensAtOnce, [&](size_t token, int worker) {
    auxiliary_token(token, signal_scale, workspaces_[static_cast<size_t>(worker)]);
  });
}

void TrainStep::auxiliary_token(size_t token, float signal_scale, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const Entries& entries = aux_.entries;
  const float* w_dec = engine_.weights_.w_dec.data();
  const size_t begin = entries.token_begin[token];
  const size_t n = entries.token_begin[token + 1] - begin;

  work.ids.resize(n);
  for (size_t e = 0; e < n; e++) work.ids[e] = dead_ids_[entries.latent[begin + e]];
  float* error = work.row.data();
  std::memcpy(error, engine_.weights_.b_dec.data(), d_pad_ * sizeof(float));
  kernels.gather(error, w_dec, d_pad_, d_pad_, work.ids.data(), entries.h.data() + begin, n);

  const float* residual = residual_.data() + token * d_pad_;  // −e
  for (size_t j = 0; j < d_pad_; j++) error[j] = error[j] + residual[j];
  token_aux_sse_[token] = kernels.dot(error, error, d_pad_);
  float* own = signal(aux_, 0, token);
  for (size_t j = 0; j < d_pad_; j++) own[j] = error[j] * signal_scale;
  for (size_t e = 0; e < n; e++)
    aux_.dh_by_latent[entries.place[begin + e]] = kernels.dot(w_dec + work.ids[e] * d_pad_, own, d_pad_);
}

}  // namespace lapidary
