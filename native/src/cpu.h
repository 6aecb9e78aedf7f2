// Which instruction sets this machine has, and the kernels that go with them.
#pragma once
#include "kernels/kernels.h"

namespace lapidary {

enum class Isa { best = 0, portable = 1, avx2 = 2, avx512 = 3, neon = 4 };
constexpr int kIsaCount = 5;

struct CpuFeatures {
  bool avx2 = false;    // with FMA
  bool avx512 = false;  // AVX-512F, with AVX2 and FMA
  bool neon = false;    // arm64 always has it
};

// What both the processor and the operating system support.
CpuFeatures cpu_features();

// Null if this machine or this build lacks them.
const Kernels* kernels_for(Isa isa);

}  // namespace lapidary
