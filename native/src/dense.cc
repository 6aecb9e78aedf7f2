#include "dense.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ranges.h"

namespace lapidary {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Packed tokens of one segment: read once per panel, so they should stay in the cache beside it.
constexpr size_t kSegmentBytes = size_t{8} << 20;
constexpr size_t kLeastSegmentTokens = 64 * kTileTokens;

}  // namespace

DenseSearch::DenseSearch(const Kernels& kernels, ThreadPool& pool, size_t d_pad)
    : kernels_(kernels), pool_(pool), d_pad_(d_pad), workspaces_(static_cast<size_t>(pool.size())) {
  const size_t fitting = kSegmentBytes / (d_pad * sizeof(float)) / kTileTokens * kTileTokens;
  segment_tokens_ = std::max(fitting, kLeastSegmentTokens);
  for (Workspace& work : workspaces_) {
    work.rows = AlignedArray<float>(kTileTokens * d_pad);
    work.panel = AlignedArray<float>(kernels.panel_latents * d_pad);
    work.latent = AlignedArray<float>(3 * kMaxPanel);
    work.hits = AlignedArray<Hit>(kTileTokens * kernels.panel_latents);
    work.h = AlignedArray<float>(kTileTokens * kernels.panel_latents);
  }
}

void DenseSearch::score(const TokenRows& tokens, const LatentRows& latents, HitSink& sink) {
  const size_t end = tokens.first + tokens.n;
  visit_tiles(tokens, latents, [&](const Panel& panel, size_t first, const float* rows, Workspace& work, int worker) {
    const size_t here = std::min(kTileTokens, end - first);
    float token_floor[kTileTokens];
    sink.floors(first, here, token_floor);
    std::fill(token_floor + here, token_floor + kTileTokens, kInfinity);
    const size_t n_hits =
        kernels_.score({rows, token_floor, static_cast<uint32_t>(first)}, panel, d_pad_, work.hits.data());
    if (n_hits > 0) sink.take(worker, work.hits.data(), n_hits);
  });
}

void DenseSearch::product(const TokenRows& tokens, const LatentRows& latents, float* h, size_t stride) {
  const size_t width = kernels_.panel_latents;
  visit_tiles(tokens, latents, [&](const Panel& panel, size_t first, const float* rows, Workspace& work, int) {
    kernels_.product({rows, nullptr, static_cast<uint32_t>(first)}, panel, d_pad_, work.h.data());
    const size_t n_tokens = std::min(kTileTokens, tokens.first + tokens.n - first);
    const size_t n_latents = std::min(width, latents.n - panel.first_latent);
    for (size_t i = 0; i < n_latents; i++) {
      float* to = h + (panel.first_latent + i) * stride + (first - tokens.first);
      for (size_t t = 0; t < n_tokens; t++) to[t] = work.h[t * width + i];
    }
  });
}

template <class Visit>
void DenseSearch::visit_tiles(const TokenRows& tokens, const LatentRows& latents, Visit visit) {
  const size_t n_panels = chunks_of(latents.n, kernels_.panel_latents);
  const size_t workers = static_cast<size_t>(pool_.size());
  for (size_t done = 0; done < tokens.n; done += segment_tokens_) {
    TokenRows segment = tokens;
    segment.first = tokens.first + done;
    segment.n = std::min(segment_tokens_, tokens.n - done);
    const size_t n_tiles = chunks_of(segment.n, kTileTokens);

    // 1. tokens, centred and packed
    packed_tokens_.reserve(n_tiles * kTileTokens * d_pad_);
    constexpr size_t kTilesAtOnce = 8;
    for_each(pool_, n_tiles, kTilesAtOnce,
             [&](size_t tile, int worker) { pack_tile(segment, tile, workspaces_[static_cast<size_t>(worker)]); });

    // 2. one panel against all tiles; where panels are few, against a share of them
    const size_t wanted_shares = chunks_of(4 * workers, n_panels);
    const size_t shares = std::max<size_t>(1, std::min(wanted_shares, n_tiles / 16));
    pool_.parallel_for(n_panels * shares, [&](size_t chunk, int worker) {
      Workspace& work = workspaces_[static_cast<size_t>(worker)];
      const Panel panel = pack_panel(latents, chunk / shares, work);
      const size_t share = chunk % shares;
      for (size_t tile = n_tiles * share / shares; tile < n_tiles * (share + 1) / shares; tile++)
        visit(panel, segment.first + tile * kTileTokens, packed_tokens_.data() + tile * kTileTokens * d_pad_, work,
              worker);
    });
  }
}

void DenseSearch::pack_tile(const TokenRows& tokens, size_t tile, Workspace& work) {
  const float* rows[kTileTokens];
  for (size_t t = 0; t < kTileTokens; t++) {
    const size_t token = tile * kTileTokens + t;
    rows[t] = nullptr;
    if (token >= tokens.n) continue;
    const float* x = tokens.x + (tokens.first + token) * tokens.stride;
    float* c = work.rows.data() + t * d_pad_;  // beyond d: zeros since allocation
    if (tokens.centre == nullptr)
      std::memcpy(c, x, tokens.d * sizeof(float));
    else
      for (size_t j = 0; j < tokens.d; j++) c[j] = x[j] - tokens.centre[j];
    rows[t] = c;
  }
  kernels_.pack(rows, kTileTokens, d_pad_, packed_tokens_.data() + tile * kTileTokens * d_pad_);
}

Panel DenseSearch::pack_panel(const LatentRows& latents, size_t panel, Workspace& work) const {
  const size_t width = kernels_.panel_latents;
  const float* rows[kMaxPanel];
  float* bias = work.latent.data();
  float* norm = bias + kMaxPanel;
  float* floor = norm + kMaxPanel;
  for (size_t i = 0; i < width; i++) {
    const size_t place = panel * width + i;
    const bool present = place < latents.n;
    const size_t row = present && latents.ids != nullptr ? latents.ids[place] : place;
    rows[i] = present ? latents.weights + row * d_pad_ : nullptr;
    bias[i] = present && latents.bias != nullptr ? latents.bias[row] : 0.0f;
    norm[i] = present && latents.norm != nullptr ? latents.norm[row] : 1.0f;
    floor[i] = !present ? kInfinity : latents.floor != nullptr ? latents.floor[row] : -kInfinity;
  }
  kernels_.pack(rows, width, d_pad_, work.panel.data());
  return {work.panel.data(), bias, norm, floor, static_cast<uint32_t>(panel * width)};
}

}  // namespace lapidary
