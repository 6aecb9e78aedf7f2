// The forward half of a step: batch, selection, reconstructions at every width, losses, dh.
#include "train_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

namespace lapidary {
namespace {

constexpr size_t kTokensPerChunk = 16;

size_t chunks_of(size_t n, size_t size) { return (n + size - 1) / size; }

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

StepResult Engine::train_step(const float* x, size_t n_tokens, const StepOptions& options) {
  return train_step_->run(x, n_tokens, options);
}

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
    work.gradient = AlignedArray<float>(2 * d_pad_);
    work.levels = AlignedArray<float>(n_groups() * d_pad_);
  }
}

StepResult TrainStep::run(const float* x, size_t n_tokens, const StepOptions& options) {
  StepProfile& profile = engine_.profile_;
  double last = now();
  const auto lap = [&last](double& seconds) {
    const double here = now();
    seconds = here - last;
    last = here;
  };
  StepResult result;
  n_tokens_ = n_tokens;

  load_batch(x);
  main_.entries = engine_.select({c_, d_pad_, d_pad_, nullptr, 0, n_tokens_}, options.selection);
  lap(profile.encode);
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

// x and c = x − bDec, rows padded with zeros.
void TrainStep::load_batch(const float* x) {
  const size_t d = engine_.shape_.d_in;
  const bool centred = engine_.shape_.apply_b_dec_to_input;
  const float* b_dec = engine_.weights_.b_dec.data();
  x_.reserve(n_tokens_ * d_pad_);
  if (centred) centred_.reserve(n_tokens_ * d_pad_);
  c_ = centred ? centred_.data() : x_.data();
  engine_.pool_.parallel_for(chunks_of(n_tokens_, kTokensPerChunk), [&](size_t chunk, int) {
    for (size_t t = chunk * kTokensPerChunk; t < std::min(n_tokens_, (chunk + 1) * kTokensPerChunk); t++) {
      float* row = x_.data() + t * d_pad_;  // padding: zeros since allocation
      std::memcpy(row, x + t * d, d * sizeof(float));
      if (!centred) continue;
      float* c = centred_.data() + t * d_pad_;
      for (size_t j = 0; j < d_pad_; j++) c[j] = row[j] - b_dec[j];
    }
  });
}

void TrainStep::reconstruct(const StepOptions& options) {
  with_aux_ = options.dead != nullptr;
  main_.signal.reserve(n_groups() * n_tokens_ * d_pad_);
  main_.dh_by_latent.resize(main_.entries.size());
  token_sse_.resize(n_groups() * n_tokens_);
  if (with_aux_) residual_.reserve(n_tokens_ * d_pad_);
  engine_.pool_.parallel_for(chunks_of(n_tokens_, kTokensPerChunk), [&](size_t chunk, int worker) {
    Workspace& work = workspaces_[static_cast<size_t>(worker)];
    for (size_t t = chunk * kTokensPerChunk; t < std::min(n_tokens_, (chunk + 1) * kTokensPerChunk); t++)
      reconstruct_token(t, work);
  });
}

void TrainStep::reconstruct_token(size_t token, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const Entries& entries = main_.entries;
  const float* w_dec = engine_.weights_.w_dec.data();
  const float* x = x_.data() + token * d_pad_;
  const float scale = 2.0f / static_cast<float>(n_tokens_);
  const size_t begin = entries.token_begin[token];
  const size_t end = entries.token_begin[token + 1];

  // 1. level by level: r_m = x̂_m − x, its square, G_m
  float* recon = work.row.data();
  std::memcpy(recon, engine_.weights_.b_dec.data(), d_pad_ * sizeof(float));
  size_t e = begin;
  for (size_t group = 0; group < n_groups(); group++) {
    const size_t from = e;
    while (e < end && entries.latent[e] < engine_.shape_.widths[group]) e++;
    kernels.gather(recon, w_dec, d_pad_, d_pad_, entries.latent.data() + from, entries.h.data() + from, e - from);
    float* residual = signal(main_, group, token);
    for (size_t j = 0; j < d_pad_; j++) residual[j] = recon[j] - x[j];
    token_sse_[group * n_tokens_ + token] = kernels.dot(residual, residual, d_pad_);
    if (with_aux_ && group + 1 == n_groups())
      std::memcpy(residual_.data() + token * d_pad_, residual, d_pad_ * sizeof(float));
    for (size_t j = 0; j < d_pad_; j++) residual[j] = residual[j] * scale;
  }
  // 2. S_g = G_g + S_{g+1}, from the widest down
  for (size_t group = n_groups() - 1; group-- > 0;) {
    float* own = signal(main_, group, token);
    const float* wider = signal(main_, group + 1, token);
    for (size_t j = 0; j < d_pad_; j++) own[j] = own[j] + wider[j];
  }
  // 3. dh
  size_t group = 0;
  for (e = begin; e < end; e++) {
    const size_t latent = entries.latent[e];
    while (latent >= engine_.shape_.widths[group]) group++;
    main_.dh_by_latent[entries.place[e]] = kernels.dot(w_dec + latent * d_pad_, signal(main_, group, token), d_pad_);
  }
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
