// A pool of threads that live as long as their engine. A thread that runs out of work watches for more for a moment
// before it sleeps: many jobs are shorter than waking up takes. Work is cut into chunks that whoever is free takes next, so
// nothing computed here may depend on which worker computes which chunk.
#pragma once
#if defined(__wasm__)
#include "../wasm/single_thread_pool.h"
#else
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace lapidary {

class ThreadPool {
 public:
  // The calling thread works too: `n_threads` counts it.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // Runs task(chunk, worker) for every chunk in [0, n_chunks), worker in [0, size()), and returns when all are done.
  // The first exception a task throws is thrown again here; the chunks not yet begun are then skipped.
  template <class Task>
  void parallel_for(size_t n_chunks, Task&& task) {
    using Plain = std::remove_reference_t<Task>;
    run(n_chunks, const_cast<void*>(static_cast<const void*>(&task)),
        [](void* context, size_t chunk, int worker) { (*static_cast<Plain*>(context))(chunk, worker); });
  }

 private:
  using Invoke = void (*)(void* context, size_t chunk, int worker);

  void stop();
  void run(size_t n_chunks, void* context, Invoke invoke);
  void take_chunks(int worker);
  void live(int worker);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  bool stopping_ = false;
  // The job: guarded by mutex_, except that chunks are handed out through next_chunk_.
  bool open_ = false;
  std::atomic<uint64_t> job_{0};  // changed under mutex_
  std::atomic<int> working_{0};  // changed under mutex_
  size_t n_chunks_ = 0;
  void* context_ = nullptr;
  Invoke invoke_ = nullptr;
  std::exception_ptr failure_;
  std::atomic<size_t> next_chunk_{0};
};

}  // namespace lapidary
#endif
