// Engine: construction, encoding, access to its tensors. decode.cc and train_step.cc hold the rest.
#include "engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "select.h"
#include "train_step.h"

namespace lapidary {
namespace {

constexpr size_t kRowsPerChunk = 64;
// The cut of one batch hardly ever falls further than this below that of the batch before.
constexpr float kGuessShare = 0.9f;

size_t chunks_of(size_t n, size_t size) { return (n + size - 1) / size; }

}  // namespace

Engine::Engine(EngineShape shape, const Kernels& kernels, int n_threads)
    : shape_(std::move(shape)),
      kernels_(kernels),
      pool_(n_threads),
      encoder_(kernels_, pool_, shape_.d_pad()),
      weights_(shape_),
      norms_(shape_.latents_pad()) {
  if (!shape_.training) return;
  first_moment_ = Parameters(shape_);
  second_moment_ = Parameters(shape_);
  train_step_ = std::make_unique<TrainStep>(*this);
}

Engine::~Engine() = default;

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
  const float* centre = shape_.apply_b_dec_to_input ? weights_.b_dec.data() : nullptr;
  return select({x, shape_.d_in, shape_.d_in, centre, 0, n_tokens}, selection);
}

Entries Engine::select(const TokenRows& tokens, const Selection& selection) {
  std::vector<Hit> hits;
  switch (selection.kind) {
    case SelectionKind::batch_topk: {
      float guess = cut_guess_;
      for (;;) {
        BatchTopK sink(pool_.size(), selection.count, guess);
        encoder_.score(tokens, latent_rows(), sink);
        const bool enough = sink.complete();
        if (!enough && guess > 0.0f) {
          guess = 0.0f;
          continue;
        }
        hits = sink.finish();
        float cut = hits.empty() ? 0.0f : hits.front().p;
        for (const Hit& hit : hits) cut = std::min(cut, hit.p);
        cut_guess_ = enough ? cut * kGuessShare : 0.0f;
        break;
      }
      break;
    }
    case SelectionKind::topk:
      hits = select_topk(tokens, latent_rows(), selection.count, 0.0f);
      break;
    case SelectionKind::threshold: {
      LatentRows latents = latent_rows();
      latents.floor = selection.thresholds;
      AllPositive sink(pool_.size());
      encoder_.score(tokens, latents, sink);
      hits = sink.finish();
      break;
    }
  }
  return order_entries(hits, tokens.n, shape_.d_sae);
}

std::vector<Hit> Engine::select_topk(const TokenRows& tokens, const LatentRows& latents, size_t k, float floor) {
  std::vector<Hit> hits;
  const size_t step = TokenTopK::tokens_within_budget(pool_.size(), k, latents.n);
  for (size_t done = 0; done < tokens.n; done += step) {
    TokenRows part = tokens;
    part.first = tokens.first + done;
    part.n = std::min(step, tokens.n - done);
    TokenTopK sink(pool_.size(), k, latents.n, part.first, part.n, floor);
    encoder_.score(part, latents, sink);
    sink.finish(pool_, hits);
  }
  return hits;
}

// ---- tensors ----

Engine::TensorView Engine::tensor(TensorOwner owner, TensorName name) {
  Parameters& parameters = owner == TensorOwner::weights        ? weights_
                           : owner == TensorOwner::first_moment ? first_moment_
                                                                : second_moment_;
  switch (name) {
    case TensorName::w_enc:
      return {parameters.w_enc.data(), shape_.d_pad(), shape_.d_in};
    case TensorName::w_dec:
      return {parameters.w_dec.data(), shape_.d_pad(), shape_.d_in};
    case TensorName::b_enc:
      return {parameters.b_enc.data(), 1, 1};
    default:
      return {parameters.b_dec.data(), 1, 1};
  }
}

size_t Engine::row_width(TensorName name) const {
  return name == TensorName::w_enc || name == TensorName::w_dec ? shape_.d_in : 1;
}

size_t Engine::row_count(TensorName name) const { return name == TensorName::b_dec ? shape_.d_in : shape_.d_sae; }

void Engine::read(TensorOwner owner, TensorName name, size_t first, size_t n, float* out) {
  const TensorView view = tensor(owner, name);
  pool_.parallel_for(chunks_of(n, kRowsPerChunk), [&](size_t chunk, int) {
    for (size_t row = chunk * kRowsPerChunk; row < std::min(n, (chunk + 1) * kRowsPerChunk); row++)
      std::memcpy(out + row * view.width, view.data + (first + row) * view.stride, view.width * sizeof(float));
  });
}

void Engine::write(TensorOwner owner, TensorName name, size_t first, size_t n, const float* rows) {
  const TensorView view = tensor(owner, name);
  pool_.parallel_for(chunks_of(n, kRowsPerChunk), [&](size_t chunk, int) {
    for (size_t row = chunk * kRowsPerChunk; row < std::min(n, (chunk + 1) * kRowsPerChunk); row++)
      std::memcpy(view.data + (first + row) * view.stride, rows + row * view.width, view.width * sizeof(float));
  });
  if (owner == TensorOwner::weights && name == TensorName::w_dec) refresh_norms(first, n);
}

void Engine::refresh_norms(size_t first, size_t n) {
  const size_t d_pad = shape_.d_pad();
  pool_.parallel_for(chunks_of(n, kRowsPerChunk), [&](size_t chunk, int) {
    for (size_t i = first + chunk * kRowsPerChunk; i < first + std::min(n, (chunk + 1) * kRowsPerChunk); i++) {
      const float* row = weights_.w_dec.data() + i * d_pad;
      norms_[i] = std::sqrt(kernels_.dot(row, row, d_pad));
    }
  });
}

}  // namespace lapidary
