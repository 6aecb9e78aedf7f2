// Memory for weights and batches: aligned to a cache line, on 2 MB pages where it is large, zeroed on allocation.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace lapidary {

// Zeroed memory, or std::bad_alloc. `release` takes what `allocate` was asked for.
void* allocate_aligned(size_t bytes);
void release_aligned(void* memory, size_t bytes);

// A fixed array of T (plain data). Moves, does not copy.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(size_t n)
      : data_(n == 0 ? nullptr : static_cast<T*>(allocate_aligned(bytes_of(n)))), size_(n) {}
  AlignedArray(AlignedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedArray& operator=(AlignedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedArray() {
    if (data_ != nullptr) release_aligned(data_, size_ * sizeof(T));
  }

  // At least n elements; the contents are lost when it grows.
  void reserve(size_t n) {
    if (n <= size_) return;
    *this = AlignedArray();
    *this = AlignedArray(n);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  static size_t bytes_of(size_t n) {
    if (n > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    return n * sizeof(T);
  }

  T* data_ = nullptr;
  size_t size_ = 0;
};

constexpr size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace lapidary
