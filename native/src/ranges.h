// Work on n things, cut into ranges that the workers of a pool take.
#pragma once
#include <algorithm>
#include <cstddef>

#include "thread_pool.h"

namespace lapidary {

constexpr size_t chunks_of(size_t n, size_t size) { return (n + size - 1) / size; }

// Tokens of a range, where each is worth some microseconds.
constexpr size_t kTokensAtOnce = 16;

// task(first, end, worker) for the ranges of `size` that [0, n) is cut into.
template <class Task>
void for_ranges(ThreadPool& pool, size_t n, size_t size, Task task) {
  pool.parallel_for(chunks_of(n, size), [&](size_t chunk, int worker) {
    task(chunk * size, std::min(n, (chunk + 1) * size), worker);
  });
}

// task(i, worker) for every i in [0, n), ranges of `size` at a time.
template <class Task>
void for_each(ThreadPool& pool, size_t n, size_t size, Task task) {
  for_ranges(pool, n, size, [&](size_t first, size_t end, int worker) {
    for (size_t i = first; i < end; i++) task(i, worker);
  });
}

}  // namespace lapidary
