#include "entries.h"

#include <algorithm>
#include <stdexcept>

#include "ranges.h"

namespace lapidary {
namespace {

// Latents, or tokens, that are sorted together by one worker.
constexpr size_t kBucket = 64;
constexpr size_t kEntriesPerChunk = 16384;

// Deals n entries into buckets, entries of one bucket in their order. Two passes over chunks: count, then move.
// `bucket_of(i)` names the bucket of entry i; `move(i, to)` puts it in place `to`. Returns where each bucket begins.
template <class BucketOf, class Move>
std::vector<uint32_t> deal(ThreadPool& pool, size_t n, size_t n_buckets, BucketOf bucket_of, Move move) {
  const size_t n_chunks = std::max<size_t>(1, chunks_of(n, kEntriesPerChunk));
  const auto each = [n](size_t chunk, auto visit) {
    for (size_t i = chunk * kEntriesPerChunk; i < std::min(n, (chunk + 1) * kEntriesPerChunk); i++) visit(i);
  };
  std::vector<uint32_t> next(n_chunks * n_buckets, 0);
  pool.parallel_for(n_chunks, [&](size_t chunk, int) {
    each(chunk, [&](size_t i) { next[chunk * n_buckets + bucket_of(i)]++; });
  });
  std::vector<uint32_t> begin(n_buckets + 1);
  uint32_t sum = 0;
  for (size_t bucket = 0; bucket < n_buckets; bucket++) {
    begin[bucket] = sum;
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
      const uint32_t count = next[chunk * n_buckets + bucket];
      next[chunk * n_buckets + bucket] = sum;
      sum += count;
    }
  }
  begin[n_buckets] = sum;
  pool.parallel_for(n_chunks, [&](size_t chunk, int) {
    each(chunk, [&](size_t i) { move(i, next[chunk * n_buckets + bucket_of(i)]++); });
  });
  return begin;
}

}  // namespace

Entries order_entries(ThreadPool& pool, const std::vector<Hit>& hits, size_t n_tokens, size_t n_latents) {
  if (hits.size() >= UINT32_MAX) throw std::length_error("more than 2^32 activations in one batch: encode fewer tokens");
  const size_t n = hits.size();
  Entries out;
  out.token_begin.assign(n_tokens + 1, static_cast<uint32_t>(n));
  out.latent_begin.assign(n_latents + 1, static_cast<uint32_t>(n));
  out.latent.resize(n);
  out.h.resize(n);
  out.p.resize(n);
  out.place.resize(n);
  out.token.resize(n);
  out.h_by_latent.resize(n);

  // 1. by latent, tokens ascending: blocks of latents, each sorted
  std::vector<Hit> sorted(n);
  const size_t n_latent_buckets = chunks_of(n_latents, kBucket);
  const std::vector<uint32_t> latents = deal(
      pool, n, n_latent_buckets, [&](size_t i) { return hits[i].latent / kBucket; },
      [&](size_t i, size_t to) { sorted[to] = hits[i]; });
  pool.parallel_for(n_latent_buckets, [&](size_t bucket, int) {
    std::sort(sorted.begin() + latents[bucket], sorted.begin() + latents[bucket + 1], [](const Hit& a, const Hit& b) {
      return a.latent != b.latent ? a.latent < b.latent : a.token < b.token;
    });
    uint32_t q = latents[bucket];
    for (size_t latent = bucket * kBucket; latent < std::min(n_latents, (bucket + 1) * kBucket); latent++) {
      out.latent_begin[latent] = q;
      for (; q < latents[bucket + 1] && sorted[q].latent == latent; q++) {
        out.token[q] = sorted[q].token;
        out.h_by_latent[q] = sorted[q].h;
      }
    }
  });

  // 2. from there by token, latents ascending: blocks of tokens, each by counting
  std::vector<uint32_t> places(n);
  const size_t n_token_buckets = chunks_of(n_tokens, kBucket);
  const std::vector<uint32_t> tokens = deal(
      pool, n, n_token_buckets, [&](size_t q) { return out.token[q] / kBucket; },
      [&](size_t q, size_t to) { places[to] = static_cast<uint32_t>(q); });
  pool.parallel_for(n_token_buckets, [&](size_t bucket, int) {
    uint32_t next[kBucket] = {};
    for (uint32_t at = tokens[bucket]; at < tokens[bucket + 1]; at++) next[out.token[places[at]] % kBucket]++;
    uint32_t sum = tokens[bucket];
    for (size_t i = 0; i < kBucket; i++) {
      const uint32_t count = next[i];
      next[i] = sum;
      if (bucket * kBucket + i < n_tokens) out.token_begin[bucket * kBucket + i] = sum;
      sum += count;
    }
    for (uint32_t at = tokens[bucket]; at < tokens[bucket + 1]; at++) {
      const uint32_t q = places[at];
      const uint32_t e = next[out.token[q] % kBucket]++;
      out.latent[e] = sorted[q].latent;
      out.h[e] = sorted[q].h;
      out.p[e] = sorted[q].p;
      out.place[e] = q;
    }
  });
  return out;
}

}  // namespace lapidary
