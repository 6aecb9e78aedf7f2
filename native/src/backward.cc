#include "backward.h"

#include <algorithm>
#include <cmath>

#include "ranges.h"

namespace lapidary {

void sum_b_dec_gradient(ThreadPool& pool, size_t d_pad, const std::vector<Rows>& signals, Rows through_encoder,
                        float* out) {
  constexpr size_t kDimensions = 64;
  for_ranges(pool, d_pad, kDimensions, [&](size_t from, size_t end, int) {
    const size_t n = end - from;
    const auto add_rows = [&](float* to, const Rows& rows) {
      for (size_t row = 0; row < rows.n; row++)
        for (size_t j = 0; j < n; j++) to[j] += rows.rows[row * d_pad + from + j];
    };
    float sum[kDimensions] = {};
    for (const Rows& signal : signals) add_rows(sum, signal);
    float subtracted[kDimensions] = {};
    add_rows(subtracted, through_encoder);
    for (size_t j = 0; j < n; j++) out[from + j] = sum[j] - subtracted[j];
  });
}

Update::Update(Engine& engine, const StepOptions& options, double grad_norm)
    : engine_(engine),
      dec_{engine.weights_.w_dec.data(),
           {engine.first_moment_.wide_dec.data(), engine.second_moment_.wide_dec.data()},
           {engine.first_moment_.narrow_dec.data(), engine.second_moment_.narrow_dec.data()}},
      enc_{engine.weights_.w_enc.data(),
           {engine.first_moment_.wide_enc.data(), engine.second_moment_.wide_enc.data()},
           {engine.first_moment_.narrow_enc.data(), engine.second_moment_.narrow_enc.data()}},
      rounding_seed_(static_cast<uint32_t>(options.adam_step) * 0x85ebca6bu) {
  factors_.gradient_scale = static_cast<float>(std::min(1.0, options.clip_norm / (grad_norm + 1e-6)));
  factors_.beta1 = static_cast<float>(options.beta1);
  factors_.one_minus_beta1 = static_cast<float>(1.0 - options.beta1);
  factors_.beta2 = static_cast<float>(options.beta2);
  factors_.one_minus_beta2 = static_cast<float>(1.0 - options.beta2);
  factors_.step_size = static_cast<float>(options.learning_rate / (1.0 - std::pow(options.beta1, options.adam_step)));
  factors_.inv_correction2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, options.adam_step)));
  factors_.epsilon = static_cast<float>(options.epsilon);
}

void Update::prefetch(size_t place, size_t n) const {
  const bool narrow = engine_.shape_.bf16_moments;
  for (const Matrix* matrix : {&dec_, &enc_})
    for (size_t j = place; j < place + n; j += kLanes) {
      LAPIDARY_PREFETCH(matrix->weights + j);
      for (const float* moment : matrix->wide)
        if (!narrow) LAPIDARY_PREFETCH(moment + j);
      for (const uint16_t* moment : matrix->narrow)
        if (narrow) LAPIDARY_PREFETCH(moment + j);
    }
}

void Update::move_rows(size_t place, size_t n, const float* d_dec, const float* d_enc) const {
  const Kernels& kernels = engine_.kernels_;
  const auto move = [&](const Matrix& matrix, const float* gradient, uint32_t m) {
    if (engine_.shape_.bf16_moments)
      kernels.adam_bf16(matrix.weights + place, matrix.narrow[0] + place, matrix.narrow[1] + place, gradient, n,
                        factors_, rounding_seed_ + static_cast<uint32_t>(2 * place + m));
    else
      kernels.adam(matrix.weights + place, matrix.wide[0] + place, matrix.wide[1] + place, gradient, n, factors_);
  };
  move(dec_, d_dec, 0);
  move(enc_, d_enc, 1);
}

void Update::move_biases(const float* d_enc, const float* d_dec) const {
  Parameters& weights = engine_.weights_;
  Moment& first = engine_.first_moment_;
  Moment& second = engine_.second_moment_;
  const Kernels& kernels = engine_.kernels_;
  kernels.adam(weights.b_enc.data(), first.b_enc.data(), second.b_enc.data(), d_enc, weights.b_enc.size(), factors_);
  kernels.adam(weights.b_dec.data(), first.b_dec.data(), second.b_dec.data(), d_dec, weights.b_dec.size(), factors_);
}

void Update::move_extra(size_t extra, const float* gradient) const {
  AlignedArray<float>& weights = engine_.weights_.extra[extra];
  engine_.kernels_.adam(weights.data(), engine_.first_moment_.extra[extra].data(),
                        engine_.second_moment_.extra[extra].data(), gradient, weights.size(), factors_);
}

}  // namespace lapidary
