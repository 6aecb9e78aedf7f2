#include "screen.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "clock.h"
#include "ranges.h"

namespace lapidary {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Tokens that are quantised together, and their rows' bytes at most.
constexpr size_t kSlabTokens = 684 * kTileTokens;
constexpr size_t kSlabBytes = size_t{64} << 20;
// Tokens of a unit: 128 dimensions of their fp32 rows stay in the second-level cache while they are refined.
constexpr size_t kSegmentTokens = 171 * kTileTokens;
// Panels of a unit: enough for a token's rows to be used several times.
constexpr size_t kMaxGroup = 16;
constexpr size_t kUnitsPerWorker = 8;
// Past this share of candidates the dense product is faster.
constexpr double kTooMany = 0.15;
// Tokens to choose the fp32 dimensions by.
constexpr size_t kSampleTokens = 128;

}  // namespace

Screen::Screen(const Kernels& kernels, const ScreenKernels& screen, ThreadPool& pool, size_t n_latents, size_t d_in)
    : kernels_(kernels),
      screen_(screen),
      pool_(pool),
      n_latents_(n_latents),
      d_pad_(round_up(d_in, kLanes)),
      latents_(n_latents, d_in),
      tokens_(kernels, screen, d_in, pool.size()),
      workspaces_(static_cast<size_t>(pool.size())) {
  for (Workspace& work : workspaces_) {
    work.panel = AlignedArray<float>(3 * kScreenPanel);
    work.tile.resize(kTileTokens * kScreenPanel);
  }
}

void Screen::score(const TokenRows& tokens, const LatentRows& latents, float quantisation, DenseSearch& dense,
                   HitSink& sink) {
  const double start = seconds_now();
  TokenRows sample = tokens;
  sample.n = std::min(tokens.n, kSampleTokens);
  latents_.refresh(pool_, kernels_, latents.weights, sample);
  cost_.quantise += seconds_now() - start;

  const size_t fitting = kSlabBytes / (d_pad_ * sizeof(float)) / kTileTokens * kTileTokens;
  const size_t step = std::min(kSlabTokens, std::max(fitting, 64 * kTileTokens));
  double share = 0;
  for (size_t done = 0; done < tokens.n; done += step) {
    TokenRows slab = tokens;
    slab.first = tokens.first + done;
    slab.n = std::min(step, tokens.n - done);
    if (share > kTooMany) {
      dense.score(slab, latents, sink);
      continue;
    }
    const uint64_t before = cost_.candidates;
    score_slab(slab, latents, quantisation, sink);
    share = static_cast<double>(cost_.candidates - before) / static_cast<double>(slab.n) /
            static_cast<double>(n_latents_);
  }
}

void Screen::score_slab(const TokenRows& tokens, const LatentRows& latents, float quantisation, HitSink& sink) {
  tokens_.load(pool_, tokens, latents_.outliers(), quantisation);
  const size_t n_segments = chunks_of(tokens.n, kSegmentTokens);
  const size_t n_panels = latents_.n_panels();
  const size_t wanted = chunks_of(kUnitsPerWorker * workspaces_.size(), n_segments);
  const size_t group = std::max<size_t>(1, std::min(kMaxGroup, n_panels / wanted));
  // Units that follow each other share their latents, whose fp32 rows come from far away.
  pool_.parallel_for(chunks_of(n_panels, group) * n_segments, [&](size_t chunk, int worker) {
    Workspace& work = workspaces_[static_cast<size_t>(worker)];
    const size_t first_panel = chunk / n_segments * group;
    const size_t first_token = chunk % n_segments * kSegmentTokens;
    const Unit unit{first_panel, std::min(n_panels, first_panel + group), first_token,
                    std::min(tokens.n, first_token + kSegmentTokens)};
    const double start = seconds_now();
    find_candidates(tokens, latents, unit, sink, work);
    const double found = seconds_now();
    refine(latents, unit, work);
    report(tokens, latents, unit, sink, worker, work);
    work.screen += found - start;
    work.refine += seconds_now() - found;
    work.candidates += work.tokens.size();
  });
  for (Workspace& work : workspaces_) {
    cost_.screen += work.screen / static_cast<double>(workspaces_.size());
    cost_.refine += work.refine / static_cast<double>(workspaces_.size());
    cost_.candidates += work.candidates;
    work.screen = work.refine = 0;
    work.candidates = 0;
  }
}

// Candidates of the unit, by latent.
void Screen::find_candidates(const TokenRows& tokens, const LatentRows& latents, const Unit& unit, HitSink& sink,
                             Workspace& work) {
  work.begin.assign(1, 0);
  work.tokens.clear();
  float* bias = work.panel.data();
  float* norm = bias + kScreenPanel;
  float* floor = norm + kScreenPanel;
  for (size_t at = unit.first_panel; at < unit.end_panel; at++) {
    ScreenPanel panel = latents_.panel(at);
    panel.bias = bias;
    panel.norm = norm;
    panel.latent_floor = floor;
    const size_t first_latent = at * kScreenPanel;
    const size_t present = std::min(kScreenPanel, latents.n - first_latent);
    for (size_t i = 0; i < kScreenPanel; i++) {
      const size_t latent = first_latent + i;
      const bool here = i < present;
      bias[i] = here ? latents.bias[latent] : 0.0f;
      norm[i] = here && latents.norm != nullptr ? latents.norm[latent] : 1.0f;
      floor[i] = !here ? kInfinity : latents.floor != nullptr ? latents.floor[latent] : -kInfinity;
    }
    // 1. tile by tile
    uint32_t counts[kScreenPanel + 1] = {};
    work.found.clear();
    for (size_t t = unit.first_token; t < unit.end_token; t += kTileTokens) {
      const size_t here = std::min(kTileTokens, unit.end_token - t);
      float token_floor[kTileTokens];
      sink.floors(tokens.first + t, here, token_floor);
      std::fill(token_floor + here, token_floor + kTileTokens, kInfinity);
      ScreenTile tile = tokens_.tile(t / kTileTokens);
      tile.token_floor = token_floor;
      const size_t n = screen_.screen(tile, panel, latents_.steps(), latents_.outliers().size(), work.tile.data());
      for (size_t i = 0; i < n; i++) {
        const Candidate& candidate = work.tile[i];
        // Where a row holds no number at all, places without a token or a latent are named as well.
        if (candidate.token >= here || candidate.latent >= present) continue;
        work.found.push_back(static_cast<uint32_t>(t + candidate.token) << 6 | candidate.latent);
        counts[candidate.latent + 1]++;
      }
    }
    // 2. by latent, tokens ascending
    const uint32_t base = static_cast<uint32_t>(work.tokens.size());
    work.tokens.resize(base + work.found.size());
    for (size_t i = 0; i < kScreenPanel; i++) {
      counts[i + 1] += counts[i];
      work.begin.push_back(base + counts[i + 1]);
    }
    for (const uint32_t entry : work.found) work.tokens[base + counts[entry & 63]++] = entry >> 6;
  }
}

// Exact dot products, a block of 128 dimensions at a time: the blocks of a segment's tokens stay in the cache.
void Screen::refine(const LatentRows& latents, const Unit& unit, Workspace& work) {
  const size_t first = unit.first_panel * kScreenPanel;
  const size_t n = work.begin.size() - 1;
  work.sums.resize(work.tokens.size());
  for (size_t start = 0; start < d_pad_; start += kBlock) {
    const size_t width = std::min(kBlock, d_pad_ - start);
    for (size_t i = 0; i < n; i++) {
      const size_t begin = work.begin[i];
      const size_t count = work.begin[i + 1] - begin;
      if (count == 0) continue;
      kernels_.dot_rows(latents.weights + (first + i) * d_pad_ + start, tokens_.rows() + start, d_pad_, width,
                        work.tokens.data() + begin, count, start == 0, work.sums.data() + begin);
    }
  }
}

void Screen::report(const TokenRows& tokens, const LatentRows& latents, const Unit& unit, HitSink& sink, int worker,
                    Workspace& work) {
  const size_t first = unit.first_panel * kScreenPanel;
  work.floors.resize(unit.end_token - unit.first_token);
  sink.floors(tokens.first + unit.first_token, work.floors.size(), work.floors.data());
  work.hits.clear();
  for (size_t i = 0; i + 1 < work.begin.size(); i++) {
    if (work.begin[i] == work.begin[i + 1]) continue;
    const size_t latent = first + i;
    const float bias = latents.bias[latent];
    const float norm = latents.norm != nullptr ? latents.norm[latent] : 1.0f;
    const float floor = latents.floor != nullptr ? latents.floor[latent] : -kInfinity;
    for (size_t e = work.begin[i]; e < work.begin[i + 1]; e++) {
      const uint32_t token = work.tokens[e];
      const float h = work.sums[e] + bias;
      const float p = h * norm;
      if (p > floor && p > work.floors[token - unit.first_token])
        work.hits.push_back({h, p, static_cast<uint32_t>(tokens.first + token), static_cast<uint32_t>(latent)});
    }
  }
  if (!work.hits.empty()) sink.take(worker, work.hits.data(), work.hits.size());
}

}  // namespace lapidary
