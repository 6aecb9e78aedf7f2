// Engine: construction, encoding, access to its tensors. decode.cc and train_step.cc hold the rest.
#include "engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "clock.h"
#include "dense_step.h"
#include "ranges.h"
#include "rule.h"
#include "select.h"
#include "train_step.h"

namespace lapidary {
namespace {

constexpr size_t kRowsAtOnce = 64;
// Tokens whose exact pre-activations give the first guess of a cut, and the share of it that is taken.
constexpr size_t kSampleTokens = 64;
constexpr float kSampleShare = 0.9f;
// The next batch's cut is looked for below the last one: by a little, and by so many times what cuts have lately moved.
constexpr float kLeastDrop = 0.01f;
constexpr float kMostDrop = 0.25f;
constexpr float kDropMoves = 3.0f;
constexpr float kMemory = 0.8f;
// A screen has to be prepared: for less than this the dense product is faster.
constexpr size_t kFewTokens = 2 * kSampleTokens;
constexpr size_t kFewLatents = 256;

void widen(const uint16_t* bf16, size_t n, float* out) {
  for (size_t j = 0; j < n; j++) {
    const uint32_t bits = static_cast<uint32_t>(bf16[j]) << 16;
    std::memcpy(out + j, &bits, sizeof bits);
  }
}

// The magnitudes behind all gates that are open.
class OpenGates : public AllPositive {
 public:
  OpenGates(int n_workers, const Rule& rule) : AllPositive(n_workers), rule_(rule) {}
  void floors(size_t, size_t n, float* out) override {
    std::fill(out, out + n, -std::numeric_limits<float>::infinity());
  }
  void take(int worker, const Hit* hits, size_t n) override {
    for (size_t i = 0; i < n; i++) {
      Hit hit = hits[i];
      rule_.activations(hit.latent, &hits[i].h, 1, &hit.h);
      hit.p = hit.h;
      if (hit.p > 0.0f) AllPositive::take(worker, &hit, 1);
    }
  }

 private:
  const Rule& rule_;
};

// To the nearest, ties to even; exact for what `widen` gave.
void narrow(const float* values, size_t n, uint16_t* out) {
  for (size_t j = 0; j < n; j++) {
    uint32_t bits;
    std::memcpy(&bits, values + j, sizeof bits);
    out[j] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

}  // namespace

Engine::Engine(EngineShape shape, const Kernels& kernels, const ScreenKernels& screen, int n_threads)
    : shape_(std::move(shape)),
      kernels_(kernels),
      pool_(n_threads),
      dense_(kernels_, pool_, shape_.d_pad()),
      screen_(kernels_, screen, pool_, shape_.d_sae, shape_.d_in),
      weights_(shape_),
      norms_(shape_.latents_pad()) {
  if (!shape_.training) return;
  first_moment_ = Moment(shape_);
  second_moment_ = Moment(shape_);
  if (shape_.architecture == Architecture::by_size)
    train_step_ = std::make_unique<TrainStep>(*this);
  else
    dense_step_ = std::make_unique<DenseStep>(*this);
}

Engine::~Engine() = default;

StepResult Engine::train_step(const float* x, size_t n_tokens, const StepOptions& options) {
  return dense_step_ ? dense_step_->run(x, n_tokens, options) : train_step_->run(x, n_tokens, options);
}

// ---- encode ----

LatentRows Engine::latent_rows() const {
  LatentRows latents{};
  latents.weights = weights_.w_enc.data();
  latents.bias = weights_.b_enc.data();
  latents.norm = shape_.rescale_by_decoder_norm ? norms_.data() : nullptr;
  latents.n = shape_.d_sae;
  return latents;
}

Entries Engine::encode(const float* x, size_t n_tokens, const Selection& selection) {
  const double start = seconds_now();
  const float* centre = shape_.apply_b_dec_to_input ? weights_.b_dec.data() : nullptr;
  Entries entries = select({x, shape_.d_in, shape_.d_in, centre, 0, n_tokens}, selection);
  profile_.reconstruct = profile_.aux = profile_.gradients = profile_.update = 0;
  profile_.encode = seconds_now() - start;
  return entries;
}

Entries Engine::select(const TokenRows& tokens, const Selection& selection) {
  screen_.reset_cost();
  profile_.searches = 1;
  std::vector<Hit> hits;
  switch (selection.kind) {
    case SelectionKind::batch_topk:
      hits = select_batch_topk(tokens, selection.count);
      break;
    case SelectionKind::topk:
      hits = select_topk(tokens, latent_rows(), selection.count, 0.0f);
      break;
    case SelectionKind::threshold: {
      LatentRows latents = latent_rows();
      latents.floor = selection.thresholds;
      AllPositive sink(pool_.size());
      search(tokens, latents, sink);
      hits = sink.finish();
      break;
    }
    case SelectionKind::own:
      hits = select_own(tokens);
      break;
  }
  profile_.cost = screen_.cost();
  return order_entries(pool_, hits, tokens.n, shape_.d_sae);
}

// Every hit above the sink's floors.
void Engine::search(const TokenRows& tokens, const LatentRows& latents, HitSink& sink) {
  const bool few = tokens.n < kFewTokens || latents.n < kFewLatents;
  if (search_.mode == SearchMode::dense || few || latents.ids != nullptr) return dense_.score(tokens, latents, sink);
  const double statistical = search_.sigmas / std::sqrt(static_cast<double>(shape_.d_in));
  const float margin = search_.mode == SearchMode::rigorous ? 1.0f : static_cast<float>(std::min(1.0, statistical));
  screen_.score(tokens, latents, margin, dense_, sink);
}

// The search finds every entry above a guess. If that makes `count`, the largest of them are the answer; if not, the
// guess was too high.
std::vector<Hit> Engine::select_batch_topk(const TokenRows& tokens, size_t count) {
  const float drop = std::min(kMostDrop, kLeastDrop + kDropMoves * cut_moves_);
  const bool had_cut = last_cut_ > 0.0f;
  float guess = had_cut ? last_cut_ * (1.0f - drop) : guess_cut(tokens, count);
  for (int attempt = 1;; attempt++) {
    BatchTopK sink(pool_.size(), count, guess);
    if (guess > 0.0f)
      search(tokens, latent_rows(), sink);
    else
      dense_.score(tokens, latent_rows(), sink);
    const bool enough = sink.complete();
    if (!enough && guess > 0.0f) {
      profile_.searches++;
      guess = attempt > 2 ? 0.0f : guess_cut(tokens, count) / static_cast<float>(attempt + (had_cut ? 0 : 1));
      continue;
    }

    std::vector<Hit> hits = sink.finish(pool_);
    float cut = hits.empty() ? 0.0f : hits.front().p;
    for (const Hit& hit : hits) cut = std::min(cut, hit.p);
    if (!enough || !std::isfinite(cut)) cut = 0.0f;
    if (had_cut && cut > 0.0f)
      cut_moves_ = kMemory * cut_moves_ + (1.0f - kMemory) * std::min(1.0f, std::fabs(cut / last_cut_ - 1.0f));
    last_cut_ = cut;
    return hits;
  }
}

// A cut that the batch's will hardly be below, from the exact pre-activations of a sample.
float Engine::guess_cut(const TokenRows& tokens, size_t count) {
  if (tokens.n < kFewTokens) return 0.0f;
  TokenRows sample = tokens;
  sample.stride = tokens.stride * (tokens.n / kSampleTokens);
  sample.x = tokens.x + tokens.first * tokens.stride;
  sample.first = 0;
  sample.n = kSampleTokens;
  BatchTopK sink(pool_.size(), std::max<size_t>(1, count * kSampleTokens / tokens.n), 0.0f);
  dense_.score(sample, latent_rows(), sink);
  if (!sink.complete()) return 0.0f;
  const std::vector<Hit> hits = sink.finish(pool_);
  float cut = hits.front().p;
  for (const Hit& hit : hits) cut = std::min(cut, hit.p);
  return cut * kSampleShare;
}

// Standard and jumprelu: h above 0 or θ. Gated: u above −bGate, which is g > 0 to the bit, and of these mag above 0.
std::vector<Hit> Engine::select_own(const TokenRows& tokens) {
  const Rule rule(shape_, weights_);
  LatentRows latents = latent_rows();
  latents.bias = rule.bias();
  latents.floor = rule.floors();
  if (shape_.architecture != Architecture::gated) {
    AllPositive sink(pool_.size());
    search(tokens, latents, sink);
    return sink.finish();
  }
  OpenGates sink(pool_.size(), rule);
  dense_.score(tokens, latents, sink);
  return sink.finish();
}

std::vector<Hit> Engine::select_topk(const TokenRows& tokens, const LatentRows& latents, size_t k, float floor) {
  std::vector<Hit> hits;
  const size_t step = TokenTopK::tokens_within_budget(pool_.size(), k, latents.n);
  for (size_t done = 0; done < tokens.n; done += step) {
    TokenRows part = tokens;
    part.first = tokens.first + done;
    part.n = std::min(step, tokens.n - done);
    TokenTopK sink(pool_.size(), k, latents.n, part.first, part.n, floor);
    search(part, latents, sink);
    sink.finish(pool_, hits);
  }
  return hits;
}

// ---- tensors ----

Engine::TensorView Engine::tensor(TensorOwner owner, TensorName name) {
  const bool is_matrix = name == TensorName::w_enc || name == TensorName::w_dec;
  const size_t stride = is_matrix ? shape_.d_pad() : 1;
  const size_t width = is_matrix ? shape_.d_in : 1;
  if (name >= TensorName::extra) {
    Extra& extra = owner == TensorOwner::weights        ? weights_.extra
                   : owner == TensorOwner::first_moment ? first_moment_.extra
                                                        : second_moment_.extra;
    return {extra[static_cast<size_t>(name) - static_cast<size_t>(TensorName::extra)].data(), nullptr, stride, width};
  }
  if (owner == TensorOwner::weights) {
    float* const data[] = {weights_.w_enc.data(), weights_.w_dec.data(), weights_.b_enc.data(), weights_.b_dec.data()};
    return {data[static_cast<size_t>(name)], nullptr, stride, width};
  }
  Moment& moment = owner == TensorOwner::first_moment ? first_moment_ : second_moment_;
  float* const wide[] = {moment.wide_enc.data(), moment.wide_dec.data(), moment.b_enc.data(), moment.b_dec.data()};
  uint16_t* const narrow[] = {moment.narrow_enc.data(), moment.narrow_dec.data(), nullptr, nullptr};
  return {wide[static_cast<size_t>(name)], narrow[static_cast<size_t>(name)], stride, width};
}

size_t Engine::row_width(TensorName name) const {
  return name == TensorName::w_enc || name == TensorName::w_dec ? shape_.d_in : 1;
}

size_t Engine::row_count(TensorName name) const { return name == TensorName::b_dec ? shape_.d_in : shape_.d_sae; }

void Engine::read(TensorOwner owner, TensorName name, size_t first, size_t n, float* out) {
  const TensorView view = tensor(owner, name);
  for_each(pool_, n, kRowsAtOnce, [&](size_t row, int) {
    if (view.data != nullptr)
      std::memcpy(out + row * view.width, view.data + (first + row) * view.stride, view.width * sizeof(float));
    else
      widen(view.narrow + (first + row) * view.stride, view.width, out + row * view.width);
  });
}

void Engine::write(TensorOwner owner, TensorName name, size_t first, size_t n, const float* rows) {
  const TensorView view = tensor(owner, name);
  for_each(pool_, n, kRowsAtOnce, [&](size_t row, int) {
    if (view.data != nullptr)
      std::memcpy(view.data + (first + row) * view.stride, rows + row * view.width, view.width * sizeof(float));
    else
      narrow(rows + row * view.width, view.width, view.narrow + (first + row) * view.stride);
  });
  if (owner == TensorOwner::weights && name == TensorName::w_dec) refresh_norms(first, n);
  if (owner == TensorOwner::weights && name == TensorName::w_enc) screen_.forget(first, n);
}

void Engine::refresh_norms(size_t first, size_t n) {
  const size_t d_pad = shape_.d_pad();
  for_each(pool_, n, kRowsAtOnce, [&](size_t i, int) {
    const float* row = weights_.w_dec.data() + (first + i) * d_pad;
    norms_[first + i] = std::sqrt(kernels_.dot(row, row, d_pad));
  });
}

}  // namespace lapidary
