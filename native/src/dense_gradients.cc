// The backward half of a dense step: ∂/∂a, dh, the gradients of every row, their norm, and the update. One worker owns a
// latent, so its sums have one order.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "dense_step.h"
#include "ranges.h"

namespace lapidary {
namespace {

// Latents of one partial sum of Σ dh·wEnc.
constexpr size_t kLatentBlock = kMaxPanel;
// ∂/∂a is computed as a dense product while one entry in so many is wanted.
constexpr size_t kCrowdedShare = 8;

}  // namespace

void DenseStep::differentiate(const Slab& slab, const Rule& rule, const StepTerms& terms) {
  // 1. ∂/∂a = ⟨wDec[i], G[b]⟩, all of them if many are wanted
  const bool crowded = is_crowded(slab, rule);
  if (crowded) {
    LatentRows decoder{};
    decoder.weights = engine_.weights_.w_dec.data() + slab.first * d_pad_;
    decoder.n = slab.n;
    DenseSearch& dense = engine_.dense_;
    dense.product({main_.rows.data(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, decoder, dh_.data(), stride_);
    if (is_gated_)
      dense.product({second_.rows.data(), d_pad_, d_pad_, nullptr, 0, n_tokens_}, decoder, d_gate_.data(), stride_);
  }
  // 2. dh, and with it the gradients of the latents' rows
  for_ranges(engine_.pool_, slab.n, kLatentsPerRange, [&](size_t from, size_t end, int worker) {
    Workspace& work = workspaces_[static_cast<size_t>(worker)];
    for (size_t i = slab.first + from; i < slab.first + end; i++) {
      if (!crowded) differentiate_latent(slab, rule, i, work);
      const float* d_gate = is_gated_ ? at(d_gate_, slab, i) : nullptr;
      const Pulled& pulled = pulled_[i] =
          rule.pull({i, engine_.norms_[i], n_tokens_, at(h_, slab, i), d_gate, at(dh_, slab, i)}, terms);
      b_enc_gradient_[i] = static_cast<float>(pulled.d_b_enc);
      for (size_t extra = 0; extra < extra_gradient_.size(); extra++)
        extra_gradient_[extra][i] = static_cast<float>(pulled.d_extra[extra]);
    }
    sum_rows(slab, rule, slab.first + from, end - from, work);
  });
}

bool DenseStep::is_crowded(const Slab& slab, const Rule& rule) {
  std::atomic<size_t> n_live{0};
  for_each(engine_.pool_, slab.n, kLatentsPerRange, [&](size_t k, int worker) {
    uint32_t* tokens = workspaces_[static_cast<size_t>(worker)].tokens.data();
    n_live += rule.live(slab.first + k, at(h_, slab, slab.first + k), n_tokens_, tokens);
  });
  return n_live * kCrowdedShare > slab.n * n_tokens_;
}

// ∂/∂a of one latent where it is live.
void DenseStep::differentiate_latent(const Slab& slab, const Rule& rule, size_t latent, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  const float* row = engine_.weights_.w_dec.data() + latent * d_pad_;
  const size_t n_live = rule.live(latent, at(h_, slab, latent), n_tokens_, work.tokens.data());
  for (size_t e = 0; e < n_live; e++) {
    const size_t token = work.tokens[e];
    at(dh_, slab, latent)[token] = kernels.dot(row, main_.rows.data() + token * d_pad_, d_pad_);
    if (is_gated_) at(d_gate_, slab, latent)[token] = kernels.dot(row, second_.rows.data() + token * d_pad_, d_pad_);
  }
}

// dwDec[i] and dwEnc[i] of latents first … first + n, tokens ascending, and their squares.
void DenseStep::sum_rows(const Slab& slab, const Rule& rule, size_t first, size_t n, Workspace& work) {
  const size_t n_tiles = chunks_of(n, kTileTokens);
  const size_t stride = 2 * d_pad_;
  float* d_dec = gradient_.data() + first * stride;
  float* d_enc = d_dec + d_pad_;
  std::memset(d_dec, 0, n_tiles * kTileTokens * stride * sizeof(float));
  for (size_t k = 0; k < n; k++) {
    const float norm = engine_.norms_[first + k];
    const float* row = engine_.weights_.w_dec.data() + (first + k) * d_pad_;
    const float pull = norm > 0 ? static_cast<float>(pulled_[first + k].d_norm / static_cast<double>(norm)) : 0.0f;
    for (size_t j = 0; j < d_pad_; j++) d_dec[k * stride + j] = pull * row[j];
  }
  for (size_t start = 0; start < n_tokens_; start += kColumns) {
    const size_t here = std::min(kColumns, n_tokens_ - start);
    const auto add = [&](const float* values, size_t values_stride, const float* rows, float* to) {
      for (size_t tile = 0; tile < n_tiles; tile++)
        work.tiles[tile].collect(values + tile * kTileTokens * values_stride,
                                 std::min(kTileTokens, n - tile * kTileTokens), values_stride, 1, here, start);
      add_columns(work.tiles, n_tiles, rows, to, stride);
    };
    float* block = work.values.data();  // [n][kColumns]
    for (size_t k = 0; k < n; k++)
      rule.activations(first + k, at(h_, slab, first + k) + start, here, block + k * kColumns);
    add(block, kColumns, main_.rows.data(), d_dec);
    add(at(dh_, slab, first) + start, stride_, batch_.c(), d_enc);
    if (!is_gated_) continue;
    for (size_t k = 0; k < n; k++)
      rule.gates(first + k, at(h_, slab, first + k) + start, here, block + k * kColumns);
    add(block, kColumns, second_.rows.data(), d_dec);
  }
  for (size_t k = 0; k < n; k++) {
    squares_[first + k] = engine_.kernels_.dot(d_dec + k * stride, d_dec + k * stride, d_pad_);
    squares_[d_sae_ + first + k] = engine_.kernels_.dot(d_enc + k * stride, d_enc + k * stride, d_pad_);
  }
}

void DenseStep::sum_b_dec() {
  const bool centred = engine_.shape_.apply_b_dec_to_input;
  if (centred)
    for_ranges(engine_.pool_, d_sae_, kLatentBlock, [&](size_t first, size_t end, int) {
      uint32_t ids[kLatentBlock];
      float sums[kLatentBlock];
      for (size_t i = first; i < end; i++) {
        ids[i - first] = static_cast<uint32_t>(i);
        sums[i - first] = static_cast<float>(pulled_[i].dh);
      }
      float* sum = pre_bias_.data() + first / kLatentBlock * d_pad_;
      std::memset(sum, 0, d_pad_ * sizeof(float));
      engine_.kernels_.gather(sum, engine_.weights_.w_enc.data(), d_pad_, d_pad_, ids, sums, end - first);
    });
  sum_b_dec_gradient(engine_.pool_, d_pad_,
                     {{main_.rows.data(), n_tokens_}, {second_.rows.data(), is_gated_ ? n_tokens_ : 0}},
                     {pre_bias_.data(), centred ? chunks_of(d_sae_, kLatentBlock) : 0}, b_dec_gradient_.data());
}

// ‖g‖: bDec, rows of wDec, rows of wEnc, bEnc, the architecture's own; squares ascending, in f64.
double DenseStep::gradient_norm() const {
  const auto square = [this](const AlignedArray<float>& row) {
    return static_cast<double>(engine_.kernels_.dot(row.data(), row.data(), row.size()));
  };
  double sum = square(b_dec_gradient_);
  for (const float each : squares_) sum += static_cast<double>(each);
  sum += square(b_enc_gradient_);
  for (const AlignedArray<float>& each : extra_gradient_) sum += square(each);
  return std::sqrt(sum);
}

void DenseStep::update(const StepOptions& options, double grad_norm) {
  const Update update(engine_, options, grad_norm);
  for_each(engine_.pool_, d_sae_, kLatentBlock, [&](size_t i, int) {
    const float* d_dec = gradient_.data() + i * 2 * d_pad_;
    const float* row = engine_.weights_.w_dec.data() + i * d_pad_;
    update.move_rows(i * d_pad_, d_pad_, d_dec, d_dec + d_pad_);
    engine_.norms_[i] = std::sqrt(engine_.kernels_.dot(row, row, d_pad_));
  });
  engine_.screen_.forget(0, d_sae_);
  update.move_biases(b_enc_gradient_.data(), b_dec_gradient_.data());
  for (size_t extra = 0; extra < extra_gradient_.size(); extra++) update.move_extra(extra, extra_gradient_[extra].data());
}

}  // namespace lapidary
