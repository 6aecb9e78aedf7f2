// Which entries become activations. Exact: the result depends neither on the number of threads nor on the order in
// which hits arrive, nor on a guess made beforehand. Ties go to the lowest (token, latent). Only p > 0 is ever chosen,
// except where a floor of −inf is asked for (AuxK).
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "aligned_array.h"
#include "hits.h"
#include "thread_pool.h"

namespace lapidary {

// A floor that workers raise together.
class SharedFloor {
 public:
  void reset(float value) { value_.store(value, std::memory_order_relaxed); }
  float get() const { return value_.load(std::memory_order_relaxed); }
  void raise(float value);

 private:
  std::atomic<float> value_{0.0f};
};

// The hits of one worker, on cache lines that no other worker writes to.
struct alignas(64) WorkerHits {
  std::vector<Hit> list;
};

// The `count` largest p of the batch, above a starting floor ≥ 0.
class BatchTopK : public HitSink {
 public:
  BatchTopK(int n_workers, size_t count, float floor);
  void floors(size_t first, size_t n, float* out) override;
  void take(int worker, const Hit* hits, size_t n) override;

  // False: fewer than `count` entries lie above the starting floor.
  bool complete() const;
  // What was chosen, in no particular order.
  std::vector<Hit> finish(ThreadPool& pool);

 private:
  void prune(std::vector<Hit>& hits);

  const size_t count_;
  const size_t capacity_;
  SharedFloor floor_;
  std::vector<WorkerHits> hits_;  // per worker
};

// The k largest p of each token in [first, first + n), above a starting floor.
class TokenTopK : public HitSink {
 public:
  TokenTopK(int n_workers, size_t k, size_t n_latents, size_t first, size_t n, float floor);
  void floors(size_t first, size_t n, float* out) override;
  void take(int worker, const Hit* hits, size_t n) override;

  // Appends what was chosen.
  void finish(ThreadPool& pool, std::vector<Hit>& out);

  // Tokens that one collector should hold, so that its buffers stay within a few dozen MB.
  static size_t tokens_within_budget(int n_workers, size_t k, size_t n_latents);

 private:
  static size_t capacity_for(size_t k, size_t n_latents);
  Hit* slots(int worker, size_t token) {
    return hits_.data() + (static_cast<size_t>(worker) * n_tokens_ + token) * capacity_;
  }

  const int n_workers_;
  const size_t k_;
  const size_t capacity_;
  const size_t first_token_;
  const size_t n_tokens_;
  std::unique_ptr<SharedFloor[]> floors_;  // [n]
  std::vector<uint32_t> counts_;           // [workers][n]
  AlignedArray<Hit> hits_;                 // [workers][n][capacity]
};

// Everything above the latents' own floors and zero.
class AllPositive : public HitSink {
 public:
  explicit AllPositive(int n_workers) : hits_(static_cast<size_t>(n_workers)) {}
  void floors(size_t first, size_t n, float* out) override;
  void take(int worker, const Hit* hits, size_t n) override;
  std::vector<Hit> finish();

 private:
  std::vector<WorkerHits> hits_;  // per worker
};

}  // namespace lapidary
