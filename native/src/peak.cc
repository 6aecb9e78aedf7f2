#include "peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "aligned_array.h"
#include "thread_pool.h"

namespace lapidary {
namespace {

// Work a second: `work` units an iteration, of which run(iterations, worker) does as many as it is told.
template <class Run>
double best_rate(int n_threads, double milliseconds, double work, Run run) {
  ThreadPool pool(n_threads);
  const auto seconds_of = [&](size_t iterations) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(static_cast<size_t>(n_threads), [&](size_t chunk, int) { run(iterations, chunk); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    return elapsed.count();
  };
  size_t iterations = 1;
  double seconds = seconds_of(iterations);
  while (seconds < 0.01) seconds = seconds_of(iterations *= 2);
  iterations = std::max<size_t>(1, static_cast<size_t>(static_cast<double>(iterations) * milliseconds * 1e-3 / seconds));
  double best = 0;
  for (int attempt = 0; attempt < 5; attempt++)
    best = std::max(best, work * static_cast<double>(iterations) * n_threads / seconds_of(iterations));
  return best;
}

}  // namespace

double measure_fp32_peak(const Kernels& kernels, int n_threads, double milliseconds) {
  std::vector<float> sink(static_cast<size_t>(n_threads));
  return 1e-9 * best_rate(n_threads, milliseconds, static_cast<double>(kernels.flops_per_peak_iteration),
                          [&](size_t iterations, size_t worker) {
                            sink[worker] = kernels.peak(iterations, 1e-3f * static_cast<float>(worker + 1));
                          });
}

double measure_int8_peak(const ScreenKernels& screen, int n_threads, double milliseconds) {
  std::vector<int32_t> sink(static_cast<size_t>(n_threads));
  return 1e-9 * best_rate(n_threads, milliseconds, static_cast<double>(screen.ops_per_peak_iteration),
                          [&](size_t iterations, size_t worker) {
                            sink[worker] = screen.peak(iterations, static_cast<int32_t>(worker + 3));
                          });
}

// Adam's traffic: four arrays, of which three are written, far larger than any cache.
double measure_memory_peak(const Kernels& kernels, int n_threads, double milliseconds) {
  constexpr size_t kValues = size_t{1} << 23;
  constexpr size_t kChunk = 4096;
  const size_t workers = static_cast<size_t>(n_threads);
  std::vector<AlignedArray<float>> arrays(3 * workers);
  for (auto& array : arrays) array = AlignedArray<float>(kValues);
  AlignedArray<float> gradient(kChunk);
  const AdamFactors factors{1.0f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-4f, 1.0f, 1e-8f};
  return 1e-9 * best_rate(n_threads, milliseconds, 6.0 * kChunk * sizeof(float),
                          [&](size_t iterations, size_t worker) {
                            AlignedArray<float>* own = arrays.data() + 3 * worker;
                            for (size_t i = 0; i < iterations; i++) {
                              const size_t at = i * kChunk % kValues;
                              kernels.adam(own[0].data() + at, own[1].data() + at, own[2].data() + at, gradient.data(),
                                           kChunk, factors);
                            }
                          });
}

}  // namespace lapidary
