// The backward half of a step. No gradient of a weight matrix is ever held: a latent's two rows are computed once for
// the global norm, and once more just before Adam consumes them. One worker owns a latent, so its sums have one order:
// the selection's tokens ascending, then the auxiliary loss's tokens ascending.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "train_step.h"

namespace lapidary {
namespace {

// Latents of one chunk of work, and of one partial sum of dbEnc·wEnc.
constexpr size_t kLatentBlock = kMaxPanel;
constexpr size_t kDimensionBlock = 64;

size_t chunks_of(size_t n, size_t size) { return (n + size - 1) / size; }

}  // namespace

size_t TrainStep::group_of(size_t latent) const {
  const auto& widths = engine_.shape_.widths;
  return static_cast<size_t>(std::upper_bound(widths.begin(), widths.end(), latent) - widths.begin());
}

// work.gradient = dwDec[i], dwEnc[i]
void TrainStep::row_gradients(size_t latent, Workspace& work) const {
  const Kernels& kernels = engine_.kernels_;
  float* d_dec = work.gradient.data();
  float* d_enc = d_dec + d_pad_;
  std::memset(d_dec, 0, 2 * d_pad_ * sizeof(float));
  const auto add = [&](const Part& part, size_t place, size_t group) {
    const size_t begin = part.entries.latent_begin[place];
    const size_t n = part.entries.latent_begin[place + 1] - begin;
    const uint32_t* tokens = part.entries.token.data() + begin;
    const float* seen = part.signal.data() + group * n_tokens_ * d_pad_;
    kernels.gather(d_dec, seen, d_pad_, d_pad_, tokens, part.entries.h_by_latent.data() + begin, n);
    kernels.gather(d_enc, c_, d_pad_, d_pad_, tokens, part.dh_by_latent.data() + begin, n);
  };
  add(main_, latent, group_of(latent));
  if (with_aux_ && place_among_dead_[latent] < dead_ids_.size()) add(aux_, place_among_dead_[latent], 0);
}

float TrainStep::bias_gradient(size_t latent) const {
  float sum = 0.0f;
  const auto add = [&](const Part& part, size_t place) {
    for (size_t e = part.entries.latent_begin[place]; e < part.entries.latent_begin[place + 1]; e++)
      sum += part.dh_by_latent[e];
  };
  add(main_, latent);
  if (with_aux_ && place_among_dead_[latent] < dead_ids_.size()) add(aux_, place_among_dead_[latent]);
  return sum;
}

void TrainStep::measure_gradients(StepResult& result) {
  const Kernels& kernels = engine_.kernels_;
  // 1. per latent: dbEnc, squares of its rows; per block of latents: Σ dbEnc[i]·wEnc[i]
  engine_.pool_.parallel_for(chunks_of(d_sae_, kLatentBlock), [&](size_t block, int worker) {
    Workspace& work = workspaces_[static_cast<size_t>(worker)];
    const size_t first = block * kLatentBlock;
    const size_t n = std::min(kLatentBlock, d_sae_ - first);
    for (size_t i = first; i < first + n; i++) {
      b_enc_gradient_[i] = bias_gradient(i);
      row_gradients(i, work);
      const float* d_dec = work.gradient.data();
      const float* d_enc = d_dec + d_pad_;
      squares_[i] = kernels.dot(d_dec, d_dec, d_pad_);
      squares_[d_sae_ + i] = kernels.dot(d_enc, d_enc, d_pad_);
    }
    if (!engine_.shape_.apply_b_dec_to_input) return;
    uint32_t ids[kLatentBlock];
    for (size_t i = 0; i < n; i++) ids[i] = static_cast<uint32_t>(first + i);
    float* sum = pre_bias_.data() + block * d_pad_;
    std::memset(sum, 0, d_pad_ * sizeof(float));
    kernels.gather(sum, engine_.weights_.w_enc.data(), d_pad_, d_pad_, ids, b_enc_gradient_.data() + first, n);
  });
  sum_b_dec_gradient();

  // 2. ‖g‖², rows ascending, in f64: bDec, wDec, wEnc, bEnc
  double sum = kernels.dot(b_dec_gradient_.data(), b_dec_gradient_.data(), d_pad_);
  for (const float square : squares_) sum += static_cast<double>(square);
  sum += static_cast<double>(
      kernels.dot(b_enc_gradient_.data(), b_enc_gradient_.data(), b_enc_gradient_.size()));
  result.grad_norm = std::sqrt(sum);
}

// dbDec: one worker owns a range of dimensions; tokens ascending, then blocks of latents ascending.
void TrainStep::sum_b_dec_gradient() {
  engine_.pool_.parallel_for(chunks_of(d_pad_, kDimensionBlock), [&](size_t chunk, int) {
    const size_t from = chunk * kDimensionBlock;
    const size_t n = std::min(kDimensionBlock, d_pad_ - from);
    float sum[kDimensionBlock] = {};
    const auto add_rows = [&](float* to, const float* rows, size_t n_rows) {
      for (size_t row = 0; row < n_rows; row++)
        for (size_t j = 0; j < n; j++) to[j] += rows[row * d_pad_ + from + j];
    };
    add_rows(sum, main_.signal.data(), n_tokens_);
    if (with_aux_) add_rows(sum, aux_.signal.data(), n_tokens_);
    if (engine_.shape_.apply_b_dec_to_input) {
      float through_encoder[kDimensionBlock] = {};
      add_rows(through_encoder, pre_bias_.data(), chunks_of(d_sae_, kLatentBlock));
      for (size_t j = 0; j < n; j++) sum[j] -= through_encoder[j];
    }
    std::copy(sum, sum + n, b_dec_gradient_.data() + from);
  });
}

// Clips, and lets dense Adam move every row, also those without a gradient: momentum carries them on.
void TrainStep::update(const StepOptions& options, double grad_norm) {
  const Kernels& kernels = engine_.kernels_;
  AdamFactors factors;
  factors.gradient_scale = static_cast<float>(std::min(1.0, options.clip_norm / (grad_norm + 1e-6)));
  factors.beta1 = static_cast<float>(options.beta1);
  factors.one_minus_beta1 = static_cast<float>(1.0 - options.beta1);
  factors.beta2 = static_cast<float>(options.beta2);
  factors.one_minus_beta2 = static_cast<float>(1.0 - options.beta2);
  factors.step_size = static_cast<float>(options.learning_rate / (1.0 - std::pow(options.beta1, options.adam_step)));
  factors.inv_correction2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, options.adam_step)));
  factors.epsilon = static_cast<float>(options.epsilon);

  Parameters& weights = engine_.weights_;
  Parameters& first = engine_.first_moment_;
  Parameters& second = engine_.second_moment_;
  engine_.pool_.parallel_for(chunks_of(d_sae_, kLatentBlock), [&](size_t block, int worker) {
    Workspace& work = workspaces_[static_cast<size_t>(worker)];
    const size_t begin = block * kLatentBlock;
    for (size_t i = begin; i < std::min(d_sae_, begin + kLatentBlock); i++) {
      row_gradients(i, work);
      const float* d_dec = work.gradient.data();
      const float* d_enc = d_dec + d_pad_;
      const size_t at = i * d_pad_;
      kernels.adam(weights.w_dec.data() + at, first.w_dec.data() + at, second.w_dec.data() + at, d_dec, d_pad_, factors);
      kernels.adam(weights.w_enc.data() + at, first.w_enc.data() + at, second.w_enc.data() + at, d_enc, d_pad_, factors);
      const float* row = weights.w_dec.data() + at;
      engine_.norms_[i] = std::sqrt(kernels.dot(row, row, d_pad_));
    }
    kernels.adam(weights.b_enc.data() + begin, first.b_enc.data() + begin, second.b_enc.data() + begin,
                 b_enc_gradient_.data() + begin, kLatentBlock, factors);
  });
  engine_.screen_.forget(0, d_sae_);
  kernels.adam(weights.b_dec.data(), first.b_dec.data(), second.b_dec.data(), b_dec_gradient_.data(), d_pad_, factors);
}

}  // namespace lapidary
