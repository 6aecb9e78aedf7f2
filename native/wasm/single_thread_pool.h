// What thread_pool.h is on WebAssembly, where there is one thread: the caller does all the work, chunk after chunk.
#pragma once
#include <cstddef>

namespace lapidary {

class ThreadPool {
 public:
  explicit ThreadPool(int) {}
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return 1; }

  template <class Task>
  void parallel_for(size_t n_chunks, Task&& task) {
    for (size_t chunk = 0; chunk < n_chunks; chunk++) task(chunk, 0);
  }
};

}  // namespace lapidary
