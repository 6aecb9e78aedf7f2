#include "cpu.h"

#if defined(LAPIDARY_X64) && defined(_MSC_VER)
#include <intrin.h>
#elif defined(LAPIDARY_X64)
#include <cpuid.h>
#elif defined(LAPIDARY_ARM64) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(LAPIDARY_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(LAPIDARY_ARM64) && defined(_WIN32)
#include <windows.h>
#endif

namespace lapidary {
namespace {

#if defined(LAPIDARY_X64)

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros where the processor has no such leaf.
Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers out;
#if defined(_MSC_VER)
  int r[4];
  __cpuid(r, 0);
  if (leaf > static_cast<unsigned>(r[0])) return out;
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  out = {static_cast<unsigned>(r[0]), static_cast<unsigned>(r[1]), static_cast<unsigned>(r[2]),
         static_cast<unsigned>(r[3])};
#else
  __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
#endif
  return out;
}

// The registers that the operating system saves, XCR0. Only where CPUID says that it can be read.
unsigned long long saved_registers() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  unsigned low;
  unsigned high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<unsigned long long>(high) << 32 | low;
#endif
}

bool bit(unsigned word, unsigned at) { return (word >> at & 1) != 0; }

#endif

#if defined(LAPIDARY_ARM64)

bool has_dotprod() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0) == 0 && value != 0;
#elif defined(_WIN32)
  constexpr DWORD kDotProductInstructions = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack
  return IsProcessorFeaturePresent(kDotProductInstructions) != 0;
#else
  return false;
#endif
}

#endif

struct Path {
  Isa isa;
  const char* name;
  const Kernels* kernels;
  const ScreenKernels* screen;
  bool CpuFeatures::*needs;
};

// From the slowest to the fastest.
const Path kPaths[] = {
    {Isa::portable, "portable", &kPortableKernels, &kPortableScreen, nullptr},
#if defined(LAPIDARY_X64)
    {Isa::avx2, "AVX2", &kAvx2Kernels, &kAvx2Screen, &CpuFeatures::avx2},
#if defined(LAPIDARY_AVX_VNNI)
    {Isa::avx_vnni, "AVX-VNNI", &kAvx2Kernels, &kAvxVnniScreen, &CpuFeatures::avx_vnni},
#endif
    {Isa::avx512, "AVX-512", &kAvx512Kernels, &kAvx2Screen, &CpuFeatures::avx512},
    {Isa::avx512_vnni, "AVX-512 VNNI", &kAvx512Kernels, &kAvx512VnniScreen, &CpuFeatures::avx512_vnni},
#elif defined(LAPIDARY_ARM64)
    {Isa::neon, "NEON", &kNeonKernels, &kNeonScreen, &CpuFeatures::neon},
    {Isa::neon_dotprod, "NEON dotprod", &kNeonKernels, &kNeonDotprodScreen, &CpuFeatures::neon_dotprod},
#endif
};

const Path* path_for(Isa isa) {
  const CpuFeatures features = cpu_features();
  const Path* found = nullptr;
  for (const Path& path : kPaths)
    if ((isa == Isa::best || isa == path.isa) && (path.needs == nullptr || features.*path.needs)) found = &path;
  return found;
}

}  // namespace

CpuFeatures cpu_features() {
  CpuFeatures features;
#if defined(LAPIDARY_X64)
  const Registers basic = cpuid(1, 0);
  const Registers extended = cpuid(7, 0);
  if (!bit(basic.ecx, 27)) return features;  // OSXSAVE
  const unsigned long long saved = saved_registers();
  constexpr unsigned long long kYmm = 0x06;
  constexpr unsigned long long kZmm = 0xe6;
  features.avx2 = bit(basic.ecx, 12) && bit(extended.ebx, 5) && (saved & kYmm) == kYmm;
  features.avx_vnni = features.avx2 && extended.eax >= 1 && bit(cpuid(7, 1).eax, 4);
  features.avx512 = features.avx2 && bit(extended.ebx, 16) && (saved & kZmm) == kZmm;
  features.avx512_vnni = features.avx512 && bit(extended.ecx, 11);
#elif defined(LAPIDARY_ARM64)
  features.neon = true;
  features.neon_dotprod = has_dotprod();
#endif
  return features;
}

const Kernels* kernels_for(Isa isa) {
  const Path* path = path_for(isa);
  return path == nullptr ? nullptr : path->kernels;
}

const ScreenKernels* screen_for(Isa isa) {
  const Path* path = path_for(isa);
  return path == nullptr ? nullptr : path->screen;
}

const char* isa_name(Isa isa) {
  const Path* path = path_for(isa);
  return path == nullptr ? nullptr : path->name;
}

}  // namespace lapidary
