#include "cpu.h"

#if defined(LAPIDARY_X64) && defined(_MSC_VER)
#include <intrin.h>
#endif

namespace lapidary {

#if defined(LAPIDARY_X64) && defined(_MSC_VER)

CpuFeatures cpu_features() {
  int leaf1[4];
  int leaf7[4];
  __cpuidex(leaf1, 1, 0);
  __cpuidex(leaf7, 7, 0);
  CpuFeatures features;
  const bool os_saves_registers = (leaf1[2] >> 27 & 1) != 0;
  if (!os_saves_registers) return features;
  const unsigned long long saved = _xgetbv(0);
  const bool fma = (leaf1[2] >> 12 & 1) != 0;
  features.avx2 = fma && (leaf7[1] >> 5 & 1) != 0 && (saved & 0x06) == 0x06;
  features.avx512 = features.avx2 && (leaf7[1] >> 16 & 1) != 0 && (saved & 0xe6) == 0xe6;
  return features;
}

#elif defined(LAPIDARY_X64)

CpuFeatures cpu_features() {
  __builtin_cpu_init();
  CpuFeatures features;
  features.avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") != 0;
  return features;
}

#elif defined(LAPIDARY_ARM64)

CpuFeatures cpu_features() {
  CpuFeatures features;
  features.neon = true;
  return features;
}

#else

CpuFeatures cpu_features() { return {}; }

#endif

const Kernels* kernels_for(Isa isa) {
  [[maybe_unused]] const CpuFeatures features = cpu_features();
  switch (isa) {
    case Isa::portable:
      return &kPortableKernels;
#ifdef LAPIDARY_X64
    case Isa::avx2:
      return features.avx2 ? &kAvx2Kernels : nullptr;
    case Isa::avx512:
      return features.avx512 ? &kAvx512Kernels : nullptr;
    case Isa::best:
      return features.avx512 ? &kAvx512Kernels : features.avx2 ? &kAvx2Kernels : &kPortableKernels;
#elif defined(LAPIDARY_ARM64)
    case Isa::neon:
    case Isa::best:
      return &kNeonKernels;
#else
    case Isa::best:
      return &kPortableKernels;
#endif
    default:
      return nullptr;
  }
}

}  // namespace lapidary
