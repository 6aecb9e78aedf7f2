#include "peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "thread_pool.h"

namespace lapidary {
namespace {

double seconds_of(const Kernels& kernels, ThreadPool& pool, size_t iterations) {
  std::vector<float> sink(static_cast<size_t>(pool.size()));
  const auto start = std::chrono::steady_clock::now();
  pool.parallel_for(sink.size(), [&](size_t chunk, int) {
    sink[chunk] = kernels.peak(iterations, 1e-3f * static_cast<float>(chunk + 1));
  });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  volatile float keep = sink[0];
  (void)keep;
  return elapsed.count();
}

}  // namespace

double measure_peak(const Kernels& kernels, int n_threads, double milliseconds) {
  ThreadPool pool(n_threads);
  size_t iterations = 1 << 16;
  double seconds = seconds_of(kernels, pool, iterations);
  while (seconds < 0.01) seconds = seconds_of(kernels, pool, iterations *= 2);
  iterations = std::max<size_t>(1, static_cast<size_t>(static_cast<double>(iterations) * milliseconds * 1e-3 / seconds));
  double best = 0;
  for (int run = 0; run < 5; run++) {
    const double flops = static_cast<double>(iterations * kernels.flops_per_peak_iteration) * n_threads;
    best = std::max(best, flops / seconds_of(kernels, pool, iterations) * 1e-9);
  }
  return best;
}

}  // namespace lapidary
