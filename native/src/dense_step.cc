// The forward half of a dense step: the plan of its slabs, pre-activations, reconstructions, losses.
#include "dense_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "clock.h"
#include "functions.h"
#include "ranges.h"

namespace lapidary {
namespace {

// A matrix [slab][B] takes at most so much, if that holds one range of latents; src/kernels/dense-memory.ts plans with it.
constexpr size_t kSlabBytes = size_t{128} << 20;

}  // namespace

void DenseStep::Columns::collect(const float* values_in, size_t n_rows, size_t row_stride, size_t column_stride,
                                 size_t n_columns, size_t first_id) {
  n = 0;
  for (size_t j = 0; j < n_columns; j++) {
    float* to = values.data() + n * kTileTokens;
    bool any = false;
    for (size_t r = 0; r < kTileTokens; r++) {
      to[r] = r < n_rows ? values_in[r * row_stride + j * column_stride] : 0.0f;
      any |= to[r] != 0.0f;
    }
    ids[n] = static_cast<uint32_t>(first_id + j);
    n += static_cast<size_t>(any);
  }
}

DenseStep::DenseStep(Engine& engine)
    : engine_(engine),
      d_pad_(engine.shape_.d_pad()),
      d_sae_(engine.shape_.d_sae),
      is_gated_(engine.shape_.architecture == Architecture::gated),
      pulled_(d_sae_),
      gradient_(round_up(d_sae_, kTileTokens) * 2 * d_pad_),
      squares_(2 * d_sae_),
      b_enc_gradient_(engine.shape_.latents_pad()),
      b_dec_gradient_(d_pad_),
      extra_gradient_(make_extra(engine.shape_)),
      pre_bias_(chunks_of(d_sae_, kMaxPanel) * d_pad_),
      workspaces_(static_cast<size_t>(engine.pool_.size())) {
  for (Workspace& work : workspaces_) {
    work.values = AlignedArray<float>(kColumns * kTokensPerRange);
    work.tiles.resize(kTokenTiles);
    for (Columns& tile : work.tiles) {
      tile.ids.resize(kColumns + 1);  // one more: what is not kept is written, too
      tile.values.resize((kColumns + 1) * kTileTokens);
    }
  }
}

StepResult DenseStep::run(const float* x, size_t n_tokens, const StepOptions& options) {
  StepProfile& profile = engine_.profile_;
  profile = StepProfile();
  double last = seconds_now();
  const auto lap = [&last](double& seconds) {
    const double here = seconds_now();
    seconds += here - last;
    last = here;
  };
  const EngineShape& shape = engine_.shape_;
  const float* centre = shape.apply_b_dec_to_input ? engine_.weights_.b_dec.data() : nullptr;
  const Rule rule(shape, engine_.weights_);
  plan(n_tokens);
  batch_.load(engine_.pool_, x, n_tokens, shape.d_in, d_pad_, centre);
  const size_t n_slabs = chunks_of(d_sae_, slab_latents_);

  for (size_t index = 0; index < n_slabs; index++) {
    pre_activations(slab(index), rule);
    lap(profile.encode);
    reconstruct(slab(index), rule);
    lap(profile.reconstruct);
  }
  measure_lengths();
  measure(main_);
  if (is_gated_) measure(second_);
  lap(profile.reconstruct);

  const StepTerms terms = terms_of(options);
  for (size_t index = n_slabs; index-- > 0;) {
    if (index + 1 < n_slabs) pre_activations(slab(index), rule);
    lap(profile.encode);
    differentiate(slab(index), rule, terms);
    lap(profile.gradients);
  }
  sum_b_dec();
  StepResult result;
  describe(options, result);
  result.grad_norm = std::isfinite(result.loss) ? gradient_norm() : std::numeric_limits<double>::quiet_NaN();
  lap(profile.gradients);
  if (!std::isfinite(result.grad_norm)) {
    result.loss = std::numeric_limits<double>::quiet_NaN();  // so that the caller sees that nothing was updated
    return result;
  }
  update(options, result.grad_norm);
  lap(profile.update);
  return result;
}

void DenseStep::plan(size_t n_tokens) {
  n_tokens_ = n_tokens;
  stride_ = round_up(n_tokens, kLanes);
  const size_t fitting = kSlabBytes / (stride_ * sizeof(float)) / kLatentsPerRange * kLatentsPerRange;
  slab_latents_ = std::min(std::max(fitting, kLatentsPerRange), round_up(d_sae_, kLatentsPerRange));
  h_.reserve(slab_latents_ * stride_);
  dh_.reserve(slab_latents_ * stride_);
  if (is_gated_) d_gate_.reserve(slab_latents_ * stride_);
  const size_t n_rows = round_up(n_tokens, kTileTokens);
  for (Reconstruction* each : {&main_, &second_}) {
    if (each == &second_ && !is_gated_) continue;
    each->rows.reserve(n_rows * d_pad_);
    each->sse.resize(n_tokens);
    for_each(engine_.pool_, n_rows, kTokensAtOnce, [&](size_t t, int) {
      std::memcpy(each->rows.data() + t * d_pad_, engine_.weights_.b_dec.data(), d_pad_ * sizeof(float));
    });
  }
  const bool with_lengths = engine_.shape_.architecture == Architecture::standard && engine_.shape_.lp_norm != 1;
  lengths_.assign(with_lengths ? n_tokens : 0, 0.0);
  n_active_.assign(n_tokens, 0);
  for (Workspace& work : workspaces_) work.tokens.resize(n_tokens);
}

DenseStep::Slab DenseStep::slab(size_t index) const {
  const size_t first = index * slab_latents_;
  return {first, std::min(slab_latents_, d_sae_ - first)};
}

void DenseStep::pre_activations(const Slab& slab, const Rule& rule) {
  LatentRows latents{};
  latents.weights = engine_.weights_.w_enc.data() + slab.first * d_pad_;
  latents.bias = rule.bias() == nullptr ? nullptr : rule.bias() + slab.first;
  latents.n = slab.n;
  engine_.dense_.product({batch_.c(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, latents, h_.data(), stride_);
}

void DenseStep::reconstruct(const Slab& slab, const Rule& rule) {
  for_ranges(engine_.pool_, n_tokens_, kTokensPerRange, [&](size_t first, size_t end, int worker) {
    reconstruct_tokens(slab, rule, first, end - first, workspaces_[static_cast<size_t>(worker)]);
  });
}

// Adds a slab's latents to x̂, and to x̂', of tokens first … first + n.
void DenseStep::reconstruct_tokens(const Slab& slab, const Rule& rule, size_t first, size_t n, Workspace& work) {
  const size_t n_tiles = chunks_of(n, kTileTokens);
  for (size_t start = slab.first; start < slab.first + slab.n; start += kColumns) {
    const size_t here = std::min(kColumns, slab.first + slab.n - start);
    const auto add = [&](Reconstruction& to) {
      for (size_t tile = 0; tile < n_tiles; tile++)
        work.tiles[tile].collect(work.values.data() + tile * kTileTokens,
                                 std::min(kTileTokens, n - tile * kTileTokens), 1, kTokensPerRange, here, start);
      add_columns(work.tiles, n_tiles, engine_.weights_.w_dec.data(), to.rows.data() + first * d_pad_, d_pad_);
    };
    for (size_t k = 0; k < here; k++) {
      const size_t i = start + k;
      float* a = work.values.data() + k * kTokensPerRange;
      rule.activations(i, at(h_, slab, i) + first, n, a);
      for (size_t t = 0; t < n; t++) n_active_[first + t] += static_cast<uint32_t>(a[t] > 0.0f);
      if (lengths_.empty()) continue;
      const double norm = static_cast<double>(engine_.norms_[i]);
      for (size_t t = 0; t < n; t++)
        if (a[t] > 0.0f) lengths_[first + t] += power_of(static_cast<double>(a[t]) * norm, engine_.shape_.lp_norm);
    }
    add(main_);
    if (!is_gated_) continue;
    for (size_t k = 0; k < here; k++)
      rule.gates(start + k, at(h_, slab, start + k) + first, n, work.values.data() + k * kTokensPerRange);
    add(second_);
  }
}

void DenseStep::add_columns(const std::vector<Columns>& tiles, size_t n_tiles, const float* rows, float* to,
                            size_t to_stride) const {
  for (size_t start = 0; start < d_pad_; start += kBlock)
    for (size_t tile = 0; tile < n_tiles; tile++)
      engine_.kernels_.gather_tile(to + tile * kTileTokens * to_stride + start, to_stride, rows + start, d_pad_,
                                   std::min(kBlock, d_pad_ - start), tiles[tile].ids.data(),
                                   tiles[tile].values.data(), tiles[tile].n);
}

void DenseStep::measure_lengths() {
  for (double& length : lengths_) length = power_of(length, 1.0 / engine_.shape_.lp_norm);
}

// x̂ becomes G = (2/B)(x̂ − x).
void DenseStep::measure(Reconstruction& reconstruction) {
  const float scale = 2.0f / static_cast<float>(n_tokens_);
  for_each(engine_.pool_, n_tokens_, kTokensAtOnce, [&](size_t token, int) {
    float* row = reconstruction.rows.data() + token * d_pad_;
    const float* x = batch_.x() + token * d_pad_;
    for (size_t j = 0; j < d_pad_; j++) row[j] = row[j] - x[j];
    reconstruction.sse[token] = engine_.kernels_.dot(row, row, d_pad_);
    for (size_t j = 0; j < d_pad_; j++) row[j] = row[j] * scale;
  });
}

StepTerms DenseStep::terms_of(const StepOptions& options) const {
  const double n = static_cast<double>(n_tokens_);
  return {options.sparsity / n, options.aux_coefficient / n, options.dead, lengths_.empty() ? nullptr : lengths_.data()};
}

// Latents and tokens ascending, in f64.
void DenseStep::describe(const StepOptions& options, StepResult& result) const {
  const double n = static_cast<double>(n_tokens_);
  const auto mean = [n](const std::vector<float>& sse) {
    double sum = 0;
    for (const float each : sse) sum += static_cast<double>(each);
    return sum / n;
  };
  result.mse = mean(main_.sse);
  if (is_gated_) result.aux = mean(second_.sse);
  result.fired.resize(d_sae_);
  for (size_t i = 0; i < d_sae_; i++) {
    const Pulled& pulled = pulled_[i];
    result.sparsity += pulled.sparsity;
    result.aux += pulled.aux;
    result.fired[i] = pulled.fired;
    if (pulled.fired > 0 && (result.min_positive == 0 || pulled.min_positive < result.min_positive))
      result.min_positive = pulled.min_positive;
  }
  result.loss = result.mse + result.sparsity + result.aux;
  size_t n_entries = 0;
  for (const uint32_t active : n_active_) n_entries += active;
  result.l0 = static_cast<double>(n_entries) / n;
  for (size_t i = 0; i < options.n_audit; i++) result.audit_entries += n_active_[options.audit_tokens[i]];
}

}  // namespace lapidary
