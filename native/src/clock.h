// Seconds, for profiles. Never for results.
#pragma once
#include <chrono>

namespace lapidary {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace lapidary
