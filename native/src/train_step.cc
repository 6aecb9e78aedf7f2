// The forward half of a step: batch, selection, reconstructions at every width, losses, dh.
#include "train_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "clock.h"
#include "ranges.h"

namespace lapidary {

TrainStep::TrainStep(Engine& engine)
    : engine_(engine),
      d_pad_(engine.shape_.d_pad()),
      d_sae_(engine.shape_.d_sae),
      place_among_dead_(d_sae_, 0),
      b_enc_gradient_(engine.shape_.latents_pad()),
      b_dec_gradient_(d_pad_),
      squares_(2 * d_sae_),
      pre_bias_(chunks_of(d_sae_, kMaxPanel) * d_pad_),
      workspaces_(static_cast<size_t>(engine.pool_.size())) {
  for (Workspace& work : workspaces_) {
    work.row = AlignedArray<float>(d_pad_);
    work.block = AlignedArray<float>(2 * kBlock);
  }
}

StepResult TrainStep::run(const float* x, size_t n_tokens, const StepOptions& options) {
  StepProfile& profile = engine_.profile_;
  double last = seconds_now();
  const auto lap = [&last](double& seconds) {
    const double here = seconds_now();
    seconds = here - last;
    last = here;
  };
  StepResult result;
  n_tokens_ = n_tokens;

  const EngineShape& shape = engine_.shape_;
  const float* centre = shape.apply_b_dec_to_input ? engine_.weights_.b_dec.data() : nullptr;
  batch_.load(engine_.pool_, x, n_tokens, shape.d_in, d_pad_, centre);
  main_.entries = engine_.select({batch_.c(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, options.selection);
  lap(profile.encode);
  if (options.audit_tokens != nullptr) audit(options, result);
  reconstruct(options);
  lap(profile.reconstruct);
  auxiliary(options, result);
  sum_losses(result);
  describe_selection(result);
  lap(profile.aux);

  profile.gradients = profile.update = 0;
  if (!std::isfinite(result.loss)) {
    result.grad_norm = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  measure_gradients(result);
  lap(profile.gradients);
  if (!std::isfinite(result.grad_norm)) {
    result.loss = std::numeric_limits<double>::quiet_NaN();  // so that the caller sees that nothing was updated
    return result;
  }
  update(options, result.grad_norm);
  lap(profile.update);
  return result;
}

void TrainStep::reconstruct(const StepOptions& options) {
  with_aux_ = options.dead != nullptr;
  main_.signal.reserve(n_groups() * n_tokens_ * d_pad_);
  main_.dh.resize(main_.entries.size());
  token_sse_.resize(n_groups() * n_tokens_);
  if (with_aux_) residual_.reserve(n_tokens_ * d_pad_);
  bound_groups();
  sweep(kBlock, [&](size_t start, size_t width) {
    for_each(engine_.pool_, n_tokens_, kTokensAtOnce, [&](size_t token, int worker) {
      reconstruct_block(token, start, width, workspaces_[static_cast<size_t>(worker)]);
    });
  });
  order_dh();
}

void TrainStep::bound_groups() {
  const Entries& entries = main_.entries;
  group_begin_.resize(n_tokens_ * (n_groups() + 1));
  uint32_t* bound = group_begin_.data();
  for (size_t t = 0; t < n_tokens_; t++) {
    const uint32_t* latents = entries.latent.data();
    const uint32_t end = entries.token_begin[t + 1];
    uint32_t e = entries.token_begin[t];
    *bound++ = e;
    for (const uint32_t group_end : engine_.shape_.widths) {
      e = static_cast<uint32_t>(std::lower_bound(latents + e, latents + end, group_end) - latents);
      *bound++ = e;
    }
  }
}

// One block of dimensions of everything about a token: reconstructions, losses, signals, dh. The decoder rows it needs
// come from memory once.
void TrainStep::reconstruct_block(size_t token, size_t start, size_t width, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const Entries& entries = main_.entries;
  const float* w_dec = engine_.weights_.w_dec.data() + start;
  const float* x = batch_.x() + token * d_pad_ + start;
  const float scale = 2.0f / static_cast<float>(n_tokens_);
  const uint32_t* bound = group_begin_.data() + token * (n_groups() + 1);

  // 1. level by level: r_m = x̂_m − x, its square, G_m
  float* recon = work.block.data();
  std::memcpy(recon, engine_.weights_.b_dec.data() + start, width * sizeof(float));
  for (size_t group = 0; group < n_groups(); group++) {
    const size_t from = bound[group];
    kernels.gather(recon, w_dec, d_pad_, width, entries.latent.data() + from, entries.h.data() + from,
                   bound[group + 1] - from);
    float* residual = signal(main_, group, token) + start;
    for (size_t j = 0; j < width; j++) residual[j] = recon[j] - x[j];
    const float square = kernels.dot(residual, residual, width);
    float& sse = token_sse_[group * n_tokens_ + token];
    sse = start == 0 ? square : sse + square;
    if (with_aux_ && group + 1 == n_groups())
      std::memcpy(residual_.data() + token * d_pad_ + start, residual, width * sizeof(float));
    for (size_t j = 0; j < width; j++) residual[j] = residual[j] * scale;
  }
  // 2. S_g = G_g + S_{g+1}, from the widest down
  for (size_t group = n_groups() - 1; group-- > 0;) {
    float* own = signal(main_, group, token) + start;
    const float* wider = signal(main_, group + 1, token) + start;
    for (size_t j = 0; j < width; j++) own[j] = own[j] + wider[j];
  }
  // 3. dh
  for (size_t group = 0; group < n_groups(); group++) {
    const size_t from = bound[group];
    kernels.dot_rows(signal(main_, group, token) + start, w_dec, d_pad_, width, entries.latent.data() + from,
                     bound[group + 1] - from, start == 0, main_.dh.data() + from);
  }
}

void TrainStep::order_dh() {
  main_.dh_by_latent.resize(main_.dh.size());
  constexpr size_t kEntriesAtOnce = 16384;
  for_each(engine_.pool_, main_.dh.size(), kEntriesAtOnce,
           [&](size_t e, int) { main_.dh_by_latent[main_.entries.place[e]] = main_.dh[e]; });
}

// Sums over rows: ascending, in f64.
void TrainStep::sum_losses(StepResult& result) const {
  const double n = static_cast<double>(n_tokens_);
  result.loss = 0;
  for (size_t group = 0; group < n_groups(); group++) {
    double sum = 0;
    for (size_t t = 0; t < n_tokens_; t++) sum += static_cast<double>(token_sse_[group * n_tokens_ + t]);
    const double mean = sum / n;
    result.loss += mean;
    if (group + 1 == n_groups())
      result.mse = mean;
    else
      result.inner_mse.push_back(mean);
  }
  result.loss += result.aux;
}

void TrainStep::describe_selection(StepResult& result) const {
  const Entries& entries = main_.entries;
  result.l0 = static_cast<double>(entries.size()) / static_cast<double>(n_tokens_);
  result.fired.resize(d_sae_);
  for (size_t i = 0; i < d_sae_; i++) result.fired[i] = entries.latent_begin[i + 1] - entries.latent_begin[i];
  for (const float p : entries.p)
    if (result.min_positive == 0 || p < result.min_positive) result.min_positive = p;
}

}  // namespace lapidary
