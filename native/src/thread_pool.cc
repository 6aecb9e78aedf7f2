#include "thread_pool.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace lapidary {
namespace {

// Some tens of microseconds.
constexpr int kGlances = 1000;

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ volatile("isb");
#endif
}

template <class Condition>
void watch(Condition condition) {
  for (int i = 0; i < kGlances && !condition(); i++) pause();
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
  try {
    for (int worker = 1; worker < n_threads; worker++) threads_.emplace_back([this, worker] { live(worker); });
  } catch (...) {
    // The system gives no more threads. Those that run must end first: a std::thread destroyed while it runs ends the
    // process.
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadPool::run(size_t n_chunks, void* context, Invoke invoke) {
  if (n_chunks == 0) return;
  {
    std::lock_guard lock(mutex_);
    n_chunks_ = n_chunks;
    context_ = context;
    invoke_ = invoke;
    failure_ = nullptr;
    next_chunk_ = 0;
    job_++;
    open_ = n_chunks > 1;
  }
  if (n_chunks > 1) wake_.notify_all();
  take_chunks(0);
  if (n_chunks > 1) watch([this] { return working_.load(std::memory_order_relaxed) == 0; });
  // A worker that wakes up only now finds the job closed and goes back to sleep.
  std::unique_lock lock(mutex_);
  open_ = false;
  done_.wait(lock, [this] { return working_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadPool::take_chunks(int worker) {
  for (;;) {
    const size_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= n_chunks_) return;
    try {
      invoke_(context_, chunk, worker);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      next_chunk_ = n_chunks_;
      return;
    }
  }
}

void ThreadPool::live(int worker) {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    lock.unlock();
    watch([&] { return job_.load(std::memory_order_relaxed) != seen; });
    lock.lock();
    wake_.wait(lock, [&] { return stopping_ || (open_ && job_ != seen); });
    if (stopping_) return;
    seen = job_;
    working_++;
    lock.unlock();
    take_chunks(worker);
    lock.lock();
    if (--working_ == 0) done_.notify_one();
  }
}

}  // namespace lapidary
