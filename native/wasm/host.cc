// What C++ and its library want of a system: an end for what cannot go on, memory or an end, a clock. With these the
// module imports nothing but host.h.
//
// -fignore-exceptions compiles `throw` to the calls below and forgets `catch`: the engine's own sources stay as they are.
#include "host.h"

#include <time.h>

#include <cstddef>
#include <cstdlib>
#include <exception>
#include <new>
#include <typeinfo>

extern "C" {

// Everything that the engine throws is a std::exception.
void* __cxa_allocate_exception(size_t size) noexcept { return std::malloc(size); }
[[noreturn]] void __cxa_throw(void* exception, std::type_info*, void* (*)(void*)) {
  host_fail(static_cast<std::exception*>(exception)->what());
}

// The library's own print, and so pull in files.
[[noreturn]] void abort_message(const char* format, ...) { host_fail(format); }

int clock_gettime(clockid_t, timespec* now) {
  const double milliseconds = host_milliseconds();
  now->tv_sec = static_cast<time_t>(milliseconds / 1e3);
  now->tv_nsec = static_cast<long>((milliseconds - static_cast<double>(now->tv_sec) * 1e3) * 1e6);
  return 0;
}

}  // extern "C"

_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) { host_fail(format); }
_LIBCPP_END_NAMESPACE_STD

// The library's own gives null.
void* operator new(size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) host_fail("out of memory");
  return memory;
}

void* operator new(size_t size, std::align_val_t alignment) {
  const size_t multiple = static_cast<size_t>(alignment);
  void* memory = std::aligned_alloc(multiple, (size + multiple - 1) / multiple * multiple);
  if (memory == nullptr) host_fail("out of memory");
  return memory;
}
