// Which instruction sets this machine has, and the kernels that go with them.
#pragma once
#include "kernels/kernels.h"

namespace lapidary {

// The codes are part of the addon's interface; cpu.cc has their order of preference.
enum class Isa {
  best = 0,
  portable = 1,
  avx2 = 2,
  avx512 = 3,
  neon = 4,
  avx_vnni = 5,
  avx512_vnni = 6,
  neon_dotprod = 7,
};
constexpr int kIsaCount = 8;

struct CpuFeatures {
  bool avx2 = false;          // with FMA
  bool avx_vnni = false;      // with AVX2 and FMA
  bool avx512 = false;        // AVX-512F, with AVX2 and FMA
  bool avx512_vnni = false;   // with AVX-512F
  bool neon = false;          // arm64 always has it
  bool neon_dotprod = false;  // of ARMv8.2
};

// What both the processor and the operating system support.
CpuFeatures cpu_features();

// The fp32 kernels and the screen of one instruction set, and its name. Null if this machine or this build lacks it.
const Kernels* kernels_for(Isa isa);
const ScreenKernels* screen_for(Isa isa);
const char* isa_name(Isa isa);

}  // namespace lapidary
