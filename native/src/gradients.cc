// The backward half of a step. No gradient of a weight matrix is ever held: a latent's two rows are computed once for
// the global norm, and once more just before Adam consumes them. One worker owns a latent, so its sums have one order:
// the selection's tokens ascending, then the auxiliary loss's tokens ascending.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backward.h"
#include "ranges.h"
#include "train_step.h"

namespace lapidary {
namespace {

// Latents of one chunk of work, and of one partial sum of dbEnc·wEnc.
constexpr size_t kLatentBlock = kMaxPanel;

}  // namespace

size_t TrainStep::group_of(size_t latent) const {
  const auto& widths = engine_.shape_.widths;
  return static_cast<size_t>(std::upper_bound(widths.begin(), widths.end(), latent) - widths.begin());
}

// Dimensions for which the gathered rows, a signal and the inputs of all tokens, stay in the cache.
size_t TrainStep::gradient_sweep() const {
  constexpr size_t kCacheBytes = size_t{8} << 20;
  const size_t fitting = kCacheBytes / (2 * n_tokens_ * sizeof(float)) / kBlock * kBlock;
  return std::max(kBlock, fitting);
}

bool TrainStep::has_gradient(size_t latent) const {
  return main_.entries.latent_begin[latent] != main_.entries.latent_begin[latent + 1] ||
         (with_aux_ && place_among_dead_[latent] < dead_ids_.size());
}

// Adds a part's entries at `place` to dimensions [start, start + width) of dwDec[i] and dwEnc[i].
void TrainStep::add_entries(const Part& part, size_t place, size_t group, size_t start, size_t width, float* d_dec,
                            float* d_enc) const {
  const Kernels& kernels = engine_.kernels_;
  const size_t begin = part.entries.latent_begin[place];
  const size_t n = part.entries.latent_begin[place + 1] - begin;
  const uint32_t* tokens = part.entries.token.data() + begin;
  const float* seen = part.signal.data() + group * n_tokens_ * d_pad_ + start;
  kernels.gather(d_dec, seen, d_pad_, width, tokens, part.entries.h_by_latent.data() + begin, n);
  kernels.gather(d_enc, batch_.c() + start, d_pad_, width, tokens, part.dh_by_latent.data() + begin, n);
}

// Dimensions [start, start + width) of dwDec[i] and dwEnc[i].
void TrainStep::block_gradients(size_t latent, size_t start, size_t width, float* d_dec, float* d_enc) const {
  const size_t dead = with_aux_ ? place_among_dead_[latent] : 0;
  const bool is_dead = with_aux_ && dead < dead_ids_.size();
  if (is_dead && aux_is_dense_) {
    const float* row = dead_gradient_.data() + dead * 2 * d_pad_ + start;
    std::memcpy(d_dec, row, width * sizeof(float));
    std::memcpy(d_enc, row + d_pad_, width * sizeof(float));
    return;
  }
  std::memset(d_dec, 0, width * sizeof(float));
  std::memset(d_enc, 0, width * sizeof(float));
  add_entries(main_, latent, group_of(latent), start, width, d_dec, d_enc);
  if (is_dead) add_entries(aux_, dead, 0, start, width, d_dec, d_enc);
}

float TrainStep::sum_dh(const Part& part, size_t place, float sum) const {
  for (size_t e = part.entries.latent_begin[place]; e < part.entries.latent_begin[place + 1]; e++)
    sum += part.dh_by_latent[e];
  return sum;
}

float TrainStep::bias_gradient(size_t latent) const {
  const size_t dead = with_aux_ ? place_among_dead_[latent] : 0;
  const bool is_dead = with_aux_ && dead < dead_ids_.size();
  if (is_dead && aux_is_dense_) return dead_bias_gradient_[dead];
  const float sum = sum_dh(main_, latent);
  return is_dead ? sum_dh(aux_, dead, sum) : sum;
}

void TrainStep::measure_gradients(StepResult& result) {
  const Kernels& kernels = engine_.kernels_;
  // 1. dbEnc; squares of the rows of dwDec and dwEnc; Σ dbEnc[i]·wEnc[i] over each block of latents
  for_each(engine_.pool_, d_sae_, kLatentBlock, [&](size_t i, int) {
    b_enc_gradient_[i] = bias_gradient(i);
    squares_[i] = squares_[d_sae_ + i] = 0.0f;
  });
  sweep(gradient_sweep(), [&](size_t start, size_t width) {
    for_ranges(engine_.pool_, d_sae_, kLatentBlock, [&](size_t first, size_t end, int worker) {
      measure_rows(first, end - first, start, width, workspaces_[static_cast<size_t>(worker)]);
    });
  });
  sum_b_dec();

  // 2. ‖g‖², rows ascending, in f64: bDec, wDec, wEnc, bEnc
  double sum = kernels.dot(b_dec_gradient_.data(), b_dec_gradient_.data(), d_pad_);
  for (const float square : squares_) sum += static_cast<double>(square);
  sum += static_cast<double>(
      kernels.dot(b_enc_gradient_.data(), b_enc_gradient_.data(), b_enc_gradient_.size()));
  result.grad_norm = std::sqrt(sum);
}

void TrainStep::measure_rows(size_t first, size_t n, size_t start, size_t width, Workspace& work) {
  const Kernels& kernels = engine_.kernels_;
  float* d_dec = work.block.data();
  float* d_enc = d_dec + kBlock;
  uint32_t ids[kLatentBlock];
  float coef[kLatentBlock];
  size_t n_moving = 0;
  for (size_t i = first; i < first + n; i++) {
    if (!has_gradient(i)) continue;
    ids[n_moving] = static_cast<uint32_t>(i);
    coef[n_moving++] = b_enc_gradient_[i];
    for (size_t at = start; at < start + width; at += kBlock) {
      const size_t here = std::min(kBlock, start + width - at);
      block_gradients(i, at, here, d_dec, d_enc);
      squares_[i] += kernels.dot(d_dec, d_dec, here);
      squares_[d_sae_ + i] += kernels.dot(d_enc, d_enc, here);
    }
  }
  if (!engine_.shape_.apply_b_dec_to_input) return;
  float* sum = pre_bias_.data() + first / kLatentBlock * d_pad_ + start;
  std::memset(sum, 0, width * sizeof(float));
  kernels.gather(sum, engine_.weights_.w_enc.data() + start, d_pad_, width, ids, coef, n_moving);
}

void TrainStep::sum_b_dec() {
  const size_t n_blocks = engine_.shape_.apply_b_dec_to_input ? chunks_of(d_sae_, kLatentBlock) : 0;
  sum_b_dec_gradient(engine_.pool_, d_pad_,
                     {{main_.signal.data(), n_tokens_}, {aux_.signal.data(), with_aux_ ? n_tokens_ : 0}},
                     {pre_bias_.data(), n_blocks}, b_dec_gradient_.data());
}

void TrainStep::update(const StepOptions& options, double grad_norm) {
  const Update update(engine_, options, grad_norm);
  sweep(gradient_sweep(), [&](size_t start, size_t width) {
    for_ranges(engine_.pool_, d_sae_, kLatentBlock, [&](size_t first, size_t end, int worker) {
      update_rows(first, end - first, start, width, update, workspaces_[static_cast<size_t>(worker)]);
    });
  });
  engine_.screen_.forget(0, d_sae_);
  update.move_biases(b_enc_gradient_.data(), b_dec_gradient_.data());
}

void TrainStep::update_rows(size_t first, size_t n, size_t start, size_t width, const Update& update,
                            Workspace& work) {
  float* d_dec = work.block.data();
  float* d_enc = d_dec + kBlock;
  for (size_t i = first; i < first + n; i++) {
    float norm_square = start == 0 ? 0.0f : squares_[i];
    for (size_t at = start; at < start + width; at += kBlock) {
      const size_t here = std::min(kBlock, start + width - at);
      const size_t place = i * d_pad_ + at;
      // The same block of the next row, unless the sweep goes straight on.
      if (i + 1 < first + n && width < d_pad_) update.prefetch(place + d_pad_, here);
      block_gradients(i, at, here, d_dec, d_enc);
      update.move_rows(place, here, d_dec, d_enc);
      const float* row = engine_.weights_.w_dec.data() + place;
      const float square = engine_.kernels_.dot(row, row, here);
      norm_square = at == 0 ? square : norm_square + square;
    }
    squares_[i] = norm_square;
    if (start + width == d_pad_) engine_.norms_[i] = std::sqrt(norm_square);
  }
}

}  // namespace lapidary
