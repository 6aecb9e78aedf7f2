// Where memory comes from: the system's pages for large arrays, the heap for small ones.
#include "aligned_array.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

namespace lapidary {
namespace {

constexpr size_t kCacheLine = 64;
[[maybe_unused]] constexpr size_t kHugePage = size_t{2} << 20;

void* allocate_from_heap(size_t bytes) {
  const size_t rounded = round_up(bytes, kCacheLine);
#if defined(_WIN32)
  void* memory = _aligned_malloc(rounded, kCacheLine);
#else
  void* memory = std::aligned_alloc(kCacheLine, rounded);
#endif
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, rounded);
  return memory;
}

void release_to_heap(void* memory) {
#if defined(_WIN32)
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

}  // namespace

#if defined(__linux__)

void* allocate_aligned(size_t bytes) {
  if (bytes < kHugePage) return allocate_from_heap(bytes);
  // Ask for one huge page more than needed, then give back what lies outside the aligned part.
  const size_t length = round_up(bytes, kHugePage);
  void* mapped = mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* start = static_cast<char*>(mapped);
  char* aligned = start + (kHugePage - reinterpret_cast<size_t>(start) % kHugePage) % kHugePage;
  if (aligned != start) munmap(start, static_cast<size_t>(aligned - start));
  const size_t tail = kHugePage - static_cast<size_t>(aligned - start);
  if (tail != 0) munmap(aligned + length, tail);
  madvise(aligned, length, MADV_HUGEPAGE);
  return aligned;
}

void release_aligned(void* memory, size_t bytes) {
  if (bytes < kHugePage) return release_to_heap(memory);
  munmap(memory, round_up(bytes, kHugePage));
}

#else

void* allocate_aligned(size_t bytes) { return allocate_from_heap(bytes); }
void release_aligned(void* memory, size_t) { release_to_heap(memory); }

#endif

}  // namespace lapidary
