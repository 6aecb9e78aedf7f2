#include "select.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ranges.h"

namespace lapidary {
namespace {

// The total order of selection.
bool better(const Hit& a, const Hit& b) {
  if (a.p != b.p) return a.p > b.p;
  if (a.token != b.token) return a.token < b.token;
  return a.latent < b.latent;
}

// Entries equal to the last one kept may still win their tie: the floor lies just below.
float just_below(float p) { return std::nextafter(p, -std::numeric_limits<float>::infinity()); }

// Positive floats order as their bits do: buckets by exponent and the leading six bits of the mantissa.
constexpr unsigned kBucketShift = 17;
constexpr size_t kBuckets = size_t{1} << (31 - kBucketShift);

size_t bucket_of(float p) {
  uint32_t bits;
  std::memcpy(&bits, &p, sizeof bits);
  return bits >> kBucketShift;
}

}  // namespace

void SharedFloor::raise(float value) {
  float seen = get();
  while (value > seen && !value_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

// ---- batch top-k ----

BatchTopK::BatchTopK(int n_workers, size_t count, float floor)
    : count_(count),
      capacity_(count + std::max<size_t>(count / 2, 16384)),
      hits_(static_cast<size_t>(n_workers)) {
  floor_.reset(floor);
  for (WorkerHits& mine : hits_) mine.list.reserve(capacity_ + kTileTokens * kMaxPanel);
}

void BatchTopK::floors(size_t, size_t n, float* out) { std::fill(out, out + n, floor_.get()); }

void BatchTopK::take(int worker, const Hit* hits, size_t n) {
  std::vector<Hit>& mine = hits_[static_cast<size_t>(worker)].list;
  mine.insert(mine.end(), hits, hits + n);
  if (mine.size() >= capacity_) prune(mine);
}

void BatchTopK::prune(std::vector<Hit>& hits) {
  if (count_ == 0) return hits.clear();
  const auto last_kept = hits.begin() + static_cast<std::ptrdiff_t>(count_ - 1);
  std::nth_element(hits.begin(), last_kept, hits.end(), better);
  floor_.raise(just_below(last_kept->p));
  hits.resize(count_);
}

bool BatchTopK::complete() const {
  size_t n = 0;
  for (const WorkerHits& worker : hits_) n += worker.list.size();
  return n >= count_;
}

std::vector<Hit> BatchTopK::finish(ThreadPool& pool) {
  // 1. the bucket in which the last choice falls
  const size_t n_lists = hits_.size();
  std::vector<uint32_t> histograms(n_lists * kBuckets, 0);
  pool.parallel_for(n_lists, [&](size_t list, int) {
    uint32_t* histogram = histograms.data() + list * kBuckets;
    for (const Hit& hit : hits_[list].list) histogram[bucket_of(hit.p)]++;
  });
  const auto in_bucket = [&](size_t bucket) {
    size_t n = 0;
    for (size_t list = 0; list < n_lists; list++) n += histograms[list * kBuckets + bucket];
    return n;
  };
  size_t edge = kBuckets;
  size_t above = 0;
  for (size_t n; edge > 0 && above + (n = in_bucket(edge - 1)) <= count_; edge--) above += n;
  // 2. everything above it, list after list (written down first and counted afterwards: a branch would be a coin toss)
  std::vector<size_t> begin(n_lists + 1, 0);
  for (size_t list = 0; list < n_lists; list++) {
    begin[list + 1] = begin[list];
    for (size_t bucket = edge; bucket < kBuckets; bucket++) begin[list + 1] += histograms[list * kBuckets + bucket];
  }
  std::vector<Hit> chosen(above);
  std::vector<std::vector<Hit>> at_edges(n_lists);
  pool.parallel_for(n_lists, [&](size_t list, int) {
    size_t n = begin[list];
    Hit last;
    for (const Hit& hit : hits_[list].list) {
      const size_t bucket = bucket_of(hit.p);
      Hit& to = n < begin[list + 1] ? chosen[n] : last;
      to = hit;
      n += static_cast<size_t>(bucket >= edge);
      if (bucket + 1 == edge) at_edges[list].push_back(hit);
    }
  });
  // 3. from it the best
  std::vector<Hit> at_edge;
  for (const auto& hits : at_edges) at_edge.insert(at_edge.end(), hits.begin(), hits.end());
  const size_t missing = std::min(count_ - chosen.size(), at_edge.size());
  const auto end = at_edge.begin() + static_cast<std::ptrdiff_t>(missing);
  std::nth_element(at_edge.begin(), end, at_edge.end(), better);
  chosen.insert(chosen.end(), at_edge.begin(), end);
  return chosen;
}

// ---- top-k of each token ----

size_t TokenTopK::capacity_for(size_t k, size_t n_latents) {
  return std::min(std::max<size_t>(2 * k, 32), std::max<size_t>(n_latents, 1));
}

size_t TokenTopK::tokens_within_budget(int n_workers, size_t k, size_t n_latents) {
  constexpr size_t kBudgetBytes = size_t{32} << 20;
  const size_t per_token = capacity_for(k, n_latents) * sizeof(Hit) * static_cast<size_t>(n_workers);
  return std::max<size_t>(64 * kTileTokens, kBudgetBytes / per_token / kTileTokens * kTileTokens);
}

TokenTopK::TokenTopK(int n_workers, size_t k, size_t n_latents, size_t first, size_t n, float floor)
    : n_workers_(n_workers),
      k_(std::min(k, n_latents)),
      capacity_(capacity_for(k_, n_latents)),
      first_token_(first),
      n_tokens_(n),
      floors_(new SharedFloor[n]),
      counts_(static_cast<size_t>(n_workers) * n, 0),
      hits_(static_cast<size_t>(n_workers) * n * capacity_) {
  for (size_t t = 0; t < n; t++) floors_[t].reset(floor);
}

void TokenTopK::floors(size_t first, size_t n, float* out) {
  for (size_t t = 0; t < n; t++) out[t] = floors_[first - first_token_ + t].get();
}

void TokenTopK::take(int worker, const Hit* hits, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const size_t token = hits[i].token - first_token_;
    Hit* mine = slots(worker, token);
    uint32_t& count = counts_[static_cast<size_t>(worker) * n_tokens_ + token];
    if (count == capacity_) {
      // Full, which happens only where capacity ≥ 2k is less than the number of latents.
      std::nth_element(mine, mine + (k_ - 1), mine + count, better);
      floors_[token].raise(just_below(mine[k_ - 1].p));
      count = static_cast<uint32_t>(k_);
    }
    if (hits[i].p > floors_[token].get()) mine[count++] = hits[i];
  }
}

void TokenTopK::finish(ThreadPool& pool, std::vector<Hit>& out) {
  // In parallel over tokens; appended in their order.
  constexpr size_t kRange = 64;
  std::vector<std::vector<Hit>> chosen(chunks_of(n_tokens_, kRange));
  for_ranges(pool, n_tokens_, kRange, [&](size_t first, size_t end_token, int) {
    std::vector<Hit> candidates;
    for (size_t token = first; token < end_token; token++) {
      candidates.clear();
      for (int worker = 0; worker < n_workers_; worker++) {
        const Hit* theirs = slots(worker, token);
        candidates.insert(candidates.end(), theirs,
                          theirs + counts_[static_cast<size_t>(worker) * n_tokens_ + token]);
      }
      const size_t n = std::min(k_, candidates.size());
      const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(n);
      std::nth_element(candidates.begin(), end, candidates.end(), better);
      chosen[first / kRange].insert(chosen[first / kRange].end(), candidates.begin(), end);
    }
  });
  for (const auto& hits : chosen) out.insert(out.end(), hits.begin(), hits.end());
}

// ---- thresholds ----

void AllPositive::floors(size_t, size_t n, float* out) { std::fill(out, out + n, 0.0f); }

void AllPositive::take(int worker, const Hit* hits, size_t n) {
  std::vector<Hit>& mine = hits_[static_cast<size_t>(worker)].list;
  mine.insert(mine.end(), hits, hits + n);
}

std::vector<Hit> AllPositive::finish() {
  std::vector<Hit> all = std::move(hits_[0].list);
  for (size_t worker = 1; worker < hits_.size(); worker++)
    all.insert(all.end(), hits_[worker].list.begin(), hits_[worker].list.end());
  return all;
}

}  // namespace lapidary
